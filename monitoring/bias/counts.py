"""Rows counted once by facet, group, label and prediction; tables of parts of the data add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.choice import Choice
from monitoring.bias.facets import Plan

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
Key = str | None
UNANSWERED = 2
"""Place on the last axis of rows without a prediction."""
MOST_CLASSES = 100
"""Labels in a confusion matrix; with more there is none."""


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """Counts of one facet."""

    keys: tuple[Key, ...]
    """Groups of the facet; None is everybody who is in none."""
    groups: tuple[Key, ...]
    """Values of the group variable; None is a missing one."""
    cells: Ints
    """Rows by key, group, label (0, 1) and prediction (0, 1, none)."""
    dropped: int = 0
    """Rows left out because the facet is missing."""
    highest: float | None = None
    """Largest value of a facet with a threshold."""

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return int(self.cells.sum())


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything but the flip test follows from these."""

    rows: int
    """All rows, counted or not."""
    unlabelled: int
    """Rows left out because the label is missing."""
    facets: Mapping[str, FacetCounts]
    outcomes: Ints
    """Rows by label and prediction, whatever the facet; shape (2, 3)."""
    confusion: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Rows by label and prediction as they stand in the data; empty for continuous ones."""
    highest: float | None = None
    """Largest label, when it has a threshold."""


def count(frame: pl.DataFrame, plan: Plan) -> Counts:
    """Count rows by a plan."""
    import polars as pl

    coded = frame.lazy().with_columns(_outcome(plan).alias("@y"), _answer(plan).alias("@p"))
    labelled = coded.filter(pl.col("@y").is_not_null())
    facts = coded.select(pl.len(), pl.col("@y").is_null().sum().alias("@missing"), *_highest(plan))
    overall = labelled.group_by("@y", "@p").len()
    queries = [_query(labelled, plan, choices) for choices in plan.facets.values()]
    first, second, *tables = pl.collect_all([facts, overall, *queries])
    rows, unlabelled, highest, *tops = first.row(0)
    outcomes = np.zeros((2, 3), dtype=np.int64)
    for label, predicted, number in second.iter_rows():
        outcomes[label, predicted] += number
    found = {
        name: _table(table, choices, top)
        for (name, choices), table, top in zip(plan.facets.items(), tables, tops, strict=True)
    }
    return Counts(rows, unlabelled, found, outcomes, _confusion(frame, plan), highest)


def merge(one: Counts, other: Counts) -> Counts:
    """Counts of both parts, in any order."""
    confusion = dict(one.confusion)
    for pair, number in other.confusion.items():
        confusion[pair] = confusion.get(pair, 0) + number
    return Counts(
        one.rows + other.rows,
        one.unlabelled + other.unlabelled,
        {name: merge_facet(table, other.facets[name]) for name, table in one.facets.items()},
        one.outcomes + other.outcomes,
        confusion,
        _larger(one.highest, other.highest),
    )


def merge_facet(one: FacetCounts, other: FacetCounts) -> FacetCounts:
    """The same of one facet."""
    keys = _sorted({*one.keys, *other.keys})
    groups = _sorted({*one.groups, *other.groups})
    cells = np.zeros((len(keys), len(groups), 2, 3), dtype=np.int64)
    for part in (one, other):
        rows = [keys.index(key) for key in part.keys]
        columns = [groups.index(group) for group in part.groups]
        cells[np.ix_(rows, columns)] += part.cells
    highest = _larger(one.highest, other.highest)
    return FacetCounts(keys, groups, cells, one.dropped + other.dropped, highest)


def combined(choices: tuple[Choice, ...]) -> tuple[pl.Expr, pl.Expr]:
    """The key of a facet or a combination of facets, and whether a row has one or is known to be outside."""
    import polars as pl

    present = pl.all_horizontal(choice.present() for choice in choices)
    return pl.concat_str([choice.key() for choice in choices], separator=" & "), present


def _outcome(plan: Plan) -> pl.Expr:
    import polars as pl

    label = plan.label
    return pl.when(label.present()).then(label.chosen()).cast(pl.UInt8)


def _answer(plan: Plan) -> pl.Expr:
    import polars as pl

    given = plan.predicted
    if given is None:
        return pl.lit(UNANSWERED, dtype=pl.UInt8)
    return pl.when(given.present()).then(given.chosen()).cast(pl.UInt8).fill_null(UNANSWERED)


def _query(labelled: pl.LazyFrame, plan: Plan, choices: tuple[Choice, ...]) -> pl.LazyFrame:
    import polars as pl

    key, present = combined(choices)
    group = plan.group.text() if plan.group else pl.lit(None, dtype=pl.String)
    wanted = (key.alias("@key"), group.alias("@group"), present.alias("@present"), "@y", "@p")
    return labelled.select(*wanted).group_by(pl.all()).len()


def _highest(plan: Plan) -> list[pl.Expr]:
    """Largest value of the label and of every facet, where they have a threshold."""
    import polars as pl

    nothing = pl.lit(None, dtype=pl.Float64)
    wanted = [(plan.label,), *plan.facets.values()]
    return [
        (one[0].number().max() if len(one) == 1 and one[0].threshold is not None else nothing).alias(f"@{n}")
        for n, one in enumerate(wanted)
    ]


def _table(found: pl.DataFrame, choices: tuple[Choice, ...], highest: float | None) -> FacetCounts:
    import polars as pl

    kept = found.filter(pl.col("@present"))
    closed: set[Key] = set() if any(choice.open for choice in choices) else {_name(choices), None}
    keys = _sorted({*kept["@key"].to_list(), *closed})
    groups = _sorted({*kept["@group"].to_list()} or {None})
    cells = np.zeros((len(keys), len(groups), 2, 3), dtype=np.int64)
    key_at, group_at = ({name: n for n, name in enumerate(names)} for names in (keys, groups))
    for key, group, _, label, predicted, number in kept.iter_rows():
        cells[key_at[key], group_at[group], label, predicted] += number
    return FacetCounts(keys, groups, cells, int(found["len"].sum()) - int(cells.sum()), highest)


def _name(choices: tuple[Choice, ...]) -> str:
    return " & ".join(choice.name for choice in choices)


def _confusion(frame: pl.DataFrame, plan: Plan) -> dict[tuple[str, str], int]:
    import polars as pl

    label, given = plan.label, plan.predicted
    if given is None or label.threshold is not None or given.threshold is not None:
        return {}
    found = (
        frame.lazy()
        .select(label.text().alias("@y"), given.text().alias("@p"))
        .drop_nulls()
        .group_by(pl.all())
        .len()
        .collect()
    )
    if max(found["@y"].n_unique(), found["@p"].n_unique(), 0) > MOST_CLASSES:
        return {}
    return {(label, predicted): number for label, predicted, number in found.sort("@y", "@p").iter_rows()}


def _sorted(keys: set[Any]) -> tuple[Key, ...]:
    """Numbers by size, texts by alphabet, what is missing first."""
    try:
        return tuple(sorted(keys, key=lambda key: (key is not None, float(key or 0), key or "")))
    except ValueError:
        return tuple(sorted(keys, key=lambda key: (key is not None, key or "")))


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
