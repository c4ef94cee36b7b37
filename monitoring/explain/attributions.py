"""What a model relies on, as a value: one number per feature and label, how it was found, its document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np

from monitoring.explain.globally import Aggregate, Aggregation, Numbers, aggregate

VERSION = "1.0"
Method = Literal["tree", "exact", "kernel"]
Space = Literal["scores", "log_odds"]


@dataclass(frozen=True, slots=True)
class How:
    """How attributions came about; only `method` may differ between two that are compared."""

    method: Method
    """`tree`: TreeSHAP; `exact`: all coalitions; `kernel`: KernelSHAP."""
    space: Space = "scores"
    """Whether probabilities (or predictions) were explained, or log-odds."""
    aggregation: Aggregation = "mean_abs"
    baseline: str = "typical"
    """Which rows of the package features were compared with."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one output of the model relies on; numbers are in the order of the features."""

    label: str
    """`label0`, `label1` and so on, as SageMaker names outputs."""
    header: str
    """The class, or the target's name."""
    values: tuple[float, ...]
    """Aggregated attributions, in the unit of the score."""
    errors: tuple[float, ...]
    """Their standard errors; NaN where not known."""
    shares: tuple[float, ...]
    """Sizes as parts of their sum."""
    share_errors: tuple[float, ...]
    expected: float
    """The mean score of the baseline rows."""

    def by(self, features: Sequence[str]) -> dict[str, float]:
        """Values by feature."""
        return dict(zip(features, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class Attributions:
    """What a model relies on, over a sample of rows."""

    features: tuple[str, ...]
    labels: tuple[Label, ...]
    """One for each output; a binary classifier has one, of its positive class."""
    rows: int
    """Rows that were explained."""
    how: How
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> Method:
        """See `How.method`."""
        return self.how.method

    def document(self) -> dict[str, Any]:
        """As JSON-able data, the same for equal values; a number that is not known is null."""
        return {
            "version": VERSION,
            **asdict(self.how),
            "rows": self.rows,
            "features": list(self.features),
            "labels": [_label_document(one) for one in self.labels],
            "notes": list(self.notes),
        }

    def of_label(self, label: str) -> Label | None:
        """The output of that name."""
        return next((one for one in self.labels if one.label == label), None)

    def top(self, count: int) -> tuple[str, ...]:
        """The features with the largest share over all labels, largest first; of equals the first column."""
        sums = [sum(one.shares[place] for one in self.labels) for place in range(len(self.features))]
        order = sorted(range(len(sums)), key=lambda place: -sums[place])
        return tuple(self.features[place] for place in order[:count])


def read(document: Mapping[str, Any]) -> Attributions:
    """The value behind a document.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    try:
        if (version := document["version"]) != VERSION:
            raise ValueError(f"attributions are of version {version}; build the version again")
        return Attributions(
            features=tuple(document["features"]),
            labels=tuple(_label(one) for one in document["labels"]),
            rows=int(document["rows"]),
            how=How(
                cast("Method", document["method"]),
                cast("Space", document["space"]),
                cast("Aggregation", document["aggregation"]),
                document["baseline"],
            ),
            notes=tuple(document.get("notes", ())),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the document has no attributions: {error!r}; build the version again") from error


def summarise(
    local: Numbers,
    expected: Numbers,
    features: Sequence[str],
    headers: Sequence[str],
    how: How,
    notes: Sequence[str] = (),
) -> Attributions:
    """Aggregate attributions by row, feature and output. Rows with a number that is not finite are left out.

    Raises:
        ValueError: no row is left.
    """
    told = list(notes)
    whole = np.isfinite(local).all(axis=(1, 2))
    if not whole.all():
        told.append(f"{int((~whole).sum())} rows are left out: their attributions are not finite")
    made = aggregate(local[whole], how.aggregation)
    labels = tuple(_made(made, place, header, expected) for place, header in enumerate(headers))
    return Attributions(tuple(features), labels, int(whole.sum()), how, tuple(told))


def _made(made: Aggregate, place: int, header: str, expected: Numbers) -> Label:
    values, errors, shares, share_errors = (
        tuple(table[:, place].tolist())
        for table in (made.values, made.errors, made.shares, made.share_errors)
    )
    return Label(f"label{place}", header, values, errors, shares, share_errors, float(expected[place]))


def _label_document(one: Label) -> dict[str, Any]:
    return {
        "label": one.label,
        "header": one.header,
        "expected_value": one.expected,
        "values": list(one.values),
        "standard_errors": [_known(value) for value in one.errors],
        "shares": list(one.shares),
        "share_errors": [_known(value) for value in one.share_errors],
    }


def _label(document: Mapping[str, Any]) -> Label:
    numbers = ("values", "standard_errors", "shares", "share_errors")
    values, errors, shares, share_errors = (
        tuple(math.nan if value is None else float(value) for value in document[name]) for name in numbers
    )
    return Label(
        document["label"],
        document["header"],
        values,
        errors,
        shares,
        share_errors,
        float(document["expected_value"]),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
