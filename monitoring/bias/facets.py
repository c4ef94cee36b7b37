"""What is counted: the label, the prediction, and each facet or combination of facets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitoring.bias.choice import Choice, look, of_facet, of_outcome
from monitoring.bias.settings import BiasConfig, BiasRefused, Mode
from monitoring.rows import PREDICTED

if TYPE_CHECKING:
    import polars as pl

MOST_VALUES = 1000
"""Values of a facet that get a report each; a facet with more is refused."""
_MISMATCH = "Predicted Label Column series datatype is not the same as Label Column series"


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are to be counted; tables counted by one plan can be merged."""

    label: Choice
    predicted: Choice | None
    facets: Mapping[str, tuple[Choice, ...]]
    """By name as in the report; several choices are a combination."""
    group: Choice | None
    notes: tuple[str, ...] = ()
    mismatch: str = ""
    """Why Clarify would compute nothing of the predictions."""


def plan(frame: pl.DataFrame, config: BiasConfig, mode: Mode) -> Plan:
    """Decide how to count; a facet that cannot be judged becomes a note.

    Raises:
        BiasRefused: the label cannot be read, or no facet is left and none can be judged.
    """
    label = of_outcome(look(frame, config.label, config.called), config.favourable, mode, config.outcome)
    notes: list[str] = []
    predicted, mismatch = _predicted(frame, config, label, mode, notes)
    single: dict[str, Choice] = {}
    for facet in config.facets:
        try:
            single[facet.name] = _bounded(frame, of_facet(frame, facet, mode))
        except BiasRefused as error:
            notes.append(f"The facet was left out: {error}.")
    facets: dict[str, tuple[Choice, ...]] = {name: (choice,) for name, choice in single.items()}
    for names in config.intersections:
        if lacking := [name for name in names if name not in single]:
            notes.append(f"{' & '.join(names)} was left out: {', '.join(lacking)} is no facet.")
        else:
            facets[" & ".join(names)] = tuple(single[name] for name in names)
    return Plan(label, predicted, facets, _group(frame, config, notes), tuple(notes), mismatch)


def _predicted(
    frame: pl.DataFrame, config: BiasConfig, label: Choice, mode: Mode, notes: list[str]
) -> tuple[Choice | None, str]:
    """In exact mode predictions are read as the label is."""
    if not config.predicted or config.predicted not in frame.columns:
        if config.predicted and config.predicted != PREDICTED:
            notes.append(f"There is no column {config.predicted} with predictions.")
        return None, ""
    try:
        seen = look(frame, config.predicted, config.predicted.removeprefix("@"))
        if mode == "exact":
            return Choice(seen.name, seen.type, label.values, label.threshold), ""
        found = of_outcome(seen, config.favourable, mode, config.outcome)
    except BiasRefused as error:
        notes.append(f"Predictions were left out: {error}.")
        return None, ""
    same = (found.threshold is None) == (label.threshold is None)
    return found, "" if same else _MISMATCH


def _group(frame: pl.DataFrame, config: BiasConfig, notes: list[str]) -> Choice | None:
    if not config.group:
        return None
    try:
        seen = look(frame, config.group)
    except BiasRefused as error:
        notes.append(f"The group variable was left out: {error}.")
        return None
    if seen.distinct > MOST_VALUES:
        notes.append(
            f"The group variable was left out: {seen.name} has {seen.distinct:,} values; "
            f"group them, at most {MOST_VALUES:,} are allowed."
        )
        return None
    return Choice(seen.name, seen.type)


def _bounded(frame: pl.DataFrame, choice: Choice) -> Choice:
    if choice.open and (distinct := look(frame, choice.column).distinct) > MOST_VALUES:
        raise BiasRefused(f"{choice.column} has {distinct:,} values; give the values of the group")
    return choice
