"""Whether training a new version pays: expected benefit against cost, and the reason either way. Pure.

Drift alone prices nothing. What counts is what the model's mistakes cost now, how much of that a new version
would win back, for how many predictions, and what it costs to make, review and roll out one. The benefit that
must exceed the cost is the cautious one: it takes the end of the interval that is better for the model that
serves, so that noise alone does not train (Regol et al., "When to retrain", ICML 2025, for the trade-off).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Price:
    """What a project says about money; any unit, the same everywhere."""

    value: float
    """Worth of one point of the metric, for one prediction; of accuracy, what a wrong prediction costs."""
    cost: float
    """Of a new version: computing, review and rollout."""
    horizon: timedelta
    """How long a new version would serve."""
    recoverable: float = 0.8
    """Part of what was lost that a new version is expected to win back, from 0 to 1."""
    cool_down: timedelta = timedelta(days=7)
    """Least time between two retrainings."""
    minimum_labels: int = 200
    """Fewer labelled predictions say too little."""
    minimum_coverage: float = 0.0
    """Smallest share of predictions with labels."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when the question is asked."""

    metric: str
    higher_is_better: bool
    value: float | None
    """Of the metric now; None when there is none."""
    low: float | None
    high: float | None
    """Its interval."""
    reference: float | None
    """Of the metric when the version was made; None when nobody kept it."""
    labels: int
    """Predictions with labels behind the metric."""
    coverage: float
    """Share of predictions that have labels, from 0 to 1."""
    per_day: float
    """Predictions a day."""
    last: datetime | None = None
    """When a version was last trained because of this."""
    estimated: bool = False
    """The metric was computed without labels."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Retrain or not, with the figures behind it."""

    retrain: bool
    reason: str
    benefit: float
    """Expected, over the horizon; 0 when it cannot be computed."""
    cautious: float
    """The same from the end of the interval that favours the version that serves."""
    cost: float


def decide(price: Price, situation: Situation, now: datetime) -> Decision:
    """Weigh benefit and cost; every obstacle is a decision not to retrain, with its reason."""
    if obstacle := _obstacle(price, situation, now):
        return Decision(False, obstacle, 0.0, 0.0, price.cost)
    expected, cautious = _lost(situation)
    volume = situation.per_day * (price.horizon / timedelta(days=1))
    benefit, sure = (price.recoverable * lost * volume * price.value for lost in (expected, cautious))
    told = (
        f"{situation.metric} is {situation.value:.4f} and was {situation.reference:.4f}; winning back "
        f"{price.recoverable:.0%} of it over {volume:,.0f} predictions is worth {benefit:,.2f}, surely "
        f"{sure:,.2f}, against a cost of {price.cost:,.2f}"
    )
    pays = sure > price.cost
    return Decision(pays, told if pays else f"not worth it: {told}", benefit, sure, price.cost)


def _obstacle(price: Price, situation: Situation, now: datetime) -> str:
    if situation.value is None or situation.low is None or situation.high is None:
        return f"{situation.metric} is not known yet; give labels with `seaway labels add`"
    if situation.reference is None:
        return f"the version's package has no {situation.metric} to compare with; build it again"
    if situation.labels < price.minimum_labels and not situation.estimated:
        return f"{situation.labels} labels say too little; {price.minimum_labels} are wanted"
    if situation.coverage < price.minimum_coverage and not situation.estimated:
        return (
            f"only {situation.coverage:.0%} of the predictions have labels; "
            f"{price.minimum_coverage:.0%} are wanted"
        )
    if situation.last and now - situation.last < price.cool_down:
        return f"a version was trained at {situation.last:%Y-%m-%d %H:%M} UTC; the cool-down still lasts"
    return ""


def _lost(situation: Situation) -> tuple[float, float]:
    """Points of the metric lost since the version was made: expected, and at least."""
    assert situation.value is not None  # noqa: S101 (_obstacle has looked)
    assert situation.low is not None  # noqa: S101
    assert situation.high is not None  # noqa: S101
    assert situation.reference is not None  # noqa: S101
    if situation.higher_is_better:
        lost = situation.reference - situation.value, situation.reference - situation.high
    else:
        lost = situation.value - situation.reference, situation.low - situation.reference
    return max(0.0, lost[0]), max(0.0, lost[1])
