"""How a new version takes over an endpoint, and what is held against it meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.quantity import Duration, Percent, Share
from configs.section import Name, Section


class AllAtOnce(Section):
    """Blue/green: all traffic moves in one step."""

    type: Literal["all_at_once"]
    bake: Duration = timedelta()
    """How long the new version is judged at full weight."""


class Canary(Section):
    """Weights in growing steps, each held for `bake`."""

    type: Literal["canary"]
    weights: tuple[Percent, ...] = Field(min_length=1)
    """Traffic of the new version at each step; 100% is added at the end when it is missing."""
    bake: Duration
    """How long each step is held and judged."""


class Linear(Section):
    """Equal steps up to 100%."""

    type: Literal["linear"]
    step: Annotated[Percent, Field(ge=1)]
    """Size of one step."""
    bake: Duration
    """How long each step is held and judged."""


class Rolling(Section):
    """Replace instances batch by batch, so that only one batch of spare capacity is needed."""

    type: Literal["rolling"]
    batch: Annotated[Percent, Field(ge=5, le=50)]
    """Share of the instances replaced at a time, 5% to 50%."""
    bake: Duration
    """How long each batch is held and judged."""


class Shadow(Section):
    """Copy traffic to the new version and discard its answers."""

    type: Literal["shadow"]
    share: Percent = 100
    """Share of the live traffic that is copied."""
    bake: Duration
    """How long."""


Strategy = Annotated[AllAtOnce | Canary | Linear | Rolling | Shadow, Field(discriminator="type")]


class Probation(Section):
    """After the last step the previous version stays warm as a concurrent control."""

    duration: Duration
    """How long."""
    control: Percent = 5
    """Traffic the previous version keeps meanwhile."""


class Rollout(Section):
    """How a new version takes over an endpoint."""

    strategy: tuple[Strategy, ...] = Field(min_length=1)
    """They follow each other: a shadow, then a canary, is a strategy."""
    termination_wait: Duration = timedelta(seconds=30)
    """Final bake at full weight, with the old version still warm."""
    maximum_execution_timeout: Duration = timedelta(hours=2)
    """After this long without a decision the rollout rolls back."""
    probation: Probation | None = None
    """Longer watch with a concurrent control, before the last step to 100%."""


class Judge(Section):
    """The always-valid comparison of the canary with the version that serves beside it."""

    alpha: Share = 0.05
    """Chance that a harmless version is rolled back, however often one looks."""
    margin: float = Field(default=1.0, ge=1.0)
    """Risk ratio (new to old) that still counts as harmless."""
    min_requests: int = Field(default=50, ge=1)
    """Answers of the new version needed in a step before it may pass."""
    latency_quantile: Share = 0.95
    """An answer is slow when it takes longer than this quantile of the old version, frozen at the start."""
    latency_margin: float = Field(default=2.0, ge=1.0)
    """Risk ratio of slow answers that still counts as harmless."""
    latency_floor: Duration = timedelta(milliseconds=10)
    """Nothing faster than this is slow, whatever the old version does."""
    require_safe: bool = False
    """True demands certified evidence that the risk ratio stays below `safe_ratio` before each step up."""
    safe_ratio: float = Field(default=2.0, gt=1.0)
    """The risk ratio to rule out when `require_safe` is set."""


class Alarm(Section):
    """A threshold alarm with CloudWatch's meaning of its fields."""

    name: Name
    """Shown when it fires."""
    metric: str
    """`error_rate`, `error_4xx_rate`, `error_5xx_rate`, `latency`, `requests`, `refused`,
    or a gateway counter."""
    statistic: Literal["average", "sum", "p50", "p90", "p95", "p99"] = "average"
    """How the samples of a period become one number; latency is in milliseconds."""
    threshold: float
    """The number compared with."""
    comparison: Literal[
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
    ] = "GreaterThanThreshold"
    period: Duration = timedelta(seconds=60)
    """Length of one period."""
    evaluation_periods: int = Field(default=1, ge=1)
    """How many of the latest periods are looked at."""
    datapoints_to_alarm: int | None = Field(default=None, ge=1)
    """How many of them must breach; all when not given."""
    treat_missing_data: Literal["missing", "breaching", "notBreaching", "ignore"] = "missing"
    """What a period without data counts as."""
    scope: Literal["variant", "endpoint"] = "variant"
    """The new version alone, or old and new together."""

    @model_validator(mode="after")
    def _datapoints_fit(self) -> Self:
        if self.datapoints_to_alarm and self.datapoints_to_alarm > self.evaluation_periods:
            raise ValueError("datapoints_to_alarm must not exceed evaluation_periods")
        return self
