"""What a bias analysis looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from monitoring.rows import LABEL, PREDICTED

Mode = Literal["exact", "clarify"]
"""`clarify` repeats SageMaker Clarify's figures, its mistakes included."""
Rule = Literal["auto", "farther", "evidence"]
"""When bias has drifted: the value is farther from neutral than the baseline's, or beyond chance so."""
Value = str | int | float | bool


class BiasRefused(ValueError):
    """The analysis that is asked for makes no sense; the message says what to do."""


Outcome = Literal["auto", "values", "threshold"]


def outcome_of(task: str) -> Outcome:
    """What outcomes of a model's task are: a number above a threshold, or classes."""
    return "threshold" if task == "regression" else "values"


@dataclass(frozen=True, slots=True)
class Facet:
    """The group that must not be treated differently; d in the formulas, everybody else being a."""

    name: str
    """A column."""
    values: tuple[Value, ...] = ()
    """These values together are the group; without them each value gets a report of its own."""
    threshold: float | None = None
    """Or everything above this number, the number itself left out."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `sex`, `sex=F`, `sex=F,X` or `age>40`.

        Raises:
            BiasRefused: the threshold is no number, or the column is missing.
        """
        name, sign, rest = text.partition("=")
        if sign and name:
            return cls(name, tuple(one.strip() for one in rest.split(",")))
        name, sign, rest = text.partition(">")
        try:
            made = cls(name, (), float(rest)) if sign else cls(name)
        except ValueError:
            made = cls("")
        if not made.name:
            raise BiasRefused(f"{text!r} is no facet; write for example sex, sex=F,X or age>40")
        return made


@dataclass(frozen=True, slots=True)
class BiasConfig:
    """Label, groups and what is computed of them."""

    favourable: tuple[Value, ...]
    """Outcomes that count as positive, or one number above which an outcome does."""
    facets: tuple[Facet, ...]
    label: str = LABEL
    """Column of what really happened."""
    label_name: str = ""
    """What reports call it; as the column is named, without the `@` of live rows, when empty."""
    predicted: str = PREDICTED
    """Column of what the model said; without such a column there are no post-training metrics."""
    group: str = ""
    """Column by whose values conditional disparity is computed; none when empty."""
    intersections: tuple[tuple[str, ...], ...] = ()
    """Names of facets that are also looked at together, for example `("sex", "age")`."""
    methods: tuple[str, ...] = ()
    """Names of metrics; all when empty."""
    features: tuple[str, ...] | None = None
    """Columns by which the flip test finds neighbours; when not given, all that are nothing else here.
    A facet is never among its own."""
    flip_rows: int = 10_000
    """Most rows on each side of a flip test; more are sampled."""
    allowed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By metric, what it may be whatever the baseline says; violated when the interval lies outside."""
    outcome: Outcome = "auto"
    """How `favourable` is meant, whatever the rows look like: values of a class, or a threshold of a number;
    `auto` goes by Clarify's type rule."""
    rule: Rule = "auto"
    """`auto`: evidence in exact mode, farther in clarify mode."""
    alpha: float = 0.05
    """With evidence: share of windows of an unchanged model that may have any violation."""
    resamples: int = 1000
    """Behind each interval; 0 gives none."""
    z: float = 1.96
    """Half width of an interval, in standard deviations."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, inputs: Sequence[str] | None = None, **more: Any) -> Self:
        """From plain settings with the keys of the project file's bias sections, and fields of this class.

        Keys of the settings that mean nothing here, such as schedules, are left out.

        Args:
            settings: the section.
            inputs: of the model; the features of the flip test when the section names none.
            more: other fields, `alpha` among them, which sections write in several ways.
        """
        plain = {name: settings[name] for name in ("rule", "resamples") if name in settings}
        if columns := settings.get("features") or inputs:
            plain["features"] = tuple(columns)
        return cls(
            favourable=tuple(settings["label_values_or_threshold"]),
            facets=tuple(
                Facet(one["name"], tuple(one.get("values", ())), one.get("threshold"))
                for one in settings["facets"]
            ),
            group=settings.get("group", ""),
            intersections=tuple(tuple(one) for one in settings.get("intersections", ())),
            methods=tuple(settings.get("methods", ())),
            **{**plain, **more},
        )

    @property
    def called(self) -> str:
        """The label's name in everything that is written or shown."""
        return self.label_name or self.label.removeprefix("@")

    def columns(self, present: Sequence[str]) -> tuple[str, ...]:
        """Columns of the flip test among those that are present."""
        if self.features is not None:
            return self.features
        taken = {self.label, self.predicted}
        return tuple(one for one in present if one not in taken and not one.startswith("@"))
