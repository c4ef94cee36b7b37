"""Groups that must not be treated differently, and which outcomes are favourable."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.quantity import Share
from configs.section import Section


class Facet(Section):
    """The group of people, or things, that must not be treated differently."""

    name: str
    """A column; in a monitor, an input."""
    values: tuple[str | int | float | bool, ...] = ()
    """These values together are the group; each value is compared with the others when not given."""
    threshold: float | None = None
    """Or everything above this number."""

    @model_validator(mode="after")
    def _values_or_threshold(self) -> Self:
        if self.values and self.threshold is not None:
            raise ValueError(f"facet {self.name}: give values or threshold, not both")
        return self


class Groups(Section):
    """Differences between groups in labels and predictions."""

    label_values_or_threshold: tuple[str | int | float | bool, ...] = Field(min_length=1)
    """The favourable outcomes, or one number above which an outcome is favourable."""
    facets: tuple[Facet, ...] = Field(min_length=1)
    """The groups."""
    intersections: tuple[tuple[str, ...], ...] = ()
    """Names of facets that are also looked at together, for example `[[sex, age]]`."""
    group: str = ""
    """The column by whose values conditional disparity is computed; none when empty."""
    methods: tuple[str, ...] = ()
    """Metrics, for example DPL and DI; all when empty."""
    mode: Literal["exact", "clarify"] = "exact"
    """`clarify` repeats the figures of SageMaker Clarify, its mistakes included."""
    features: tuple[str, ...] = ()
    """Inputs by which the flip test finds similar people; all inputs when empty. Numbers count in their own
    units; texts count as equal or not, and `clarify` refuses them."""
    resamples: int = Field(default=1000, ge=50, le=20_000)
    """Bootstrap resamples behind each interval."""
    rule: Literal["auto", "farther", "evidence"] = "auto"
    """In a monitor, when a metric is a violation. `farther`: it is farther from fair than in the baseline, as
    in SageMaker. `evidence`: farther than chance explains. `auto` is evidence in exact mode, else farther."""
    alpha: Annotated[Share, Field(gt=0, le=0.5)] = 0.05
    """In a monitor with `evidence`: share of windows of an unchanged model that may have any violation."""

    @model_validator(mode="after")
    def _facets_known(self) -> Self:
        names = [facet.name for facet in self.facets]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"facets named twice: {', '.join(doubled)}")
        if unknown := sorted({name for pair in self.intersections for name in pair} - set(names)):
            raise ValueError(f"intersections name what is no facet: {', '.join(unknown)}")
        return self
