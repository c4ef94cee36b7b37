"""Attribution drift of a window: does the model rely on what it relied on in the baseline?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from monitoring.drift.discoveries import q_values
from monitoring.explain import clarify, shares
from monitoring.explain.attributions import Attributions, Label
from monitoring.explain.ndcg import ndcg
from monitoring.findings import Figure, Finding, Violation

THRESHOLD = 0.9
"""A smaller NDCG is a violation, as SageMaker has it."""
RATE = 0.05
"""Of false discoveries among the features whose share is said to have moved."""
CHECK = "feature_attribution_drift_check"
METHOD = ("ExplainabilityMethod", "KernelShap")
"""SageMaker's dimension; it knows no other value."""
_NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """One feature in baseline and window."""

    name: str
    baseline: float
    """Aggregated attribution."""
    live: float
    baseline_share: float
    live_share: float
    baseline_rank: float
    """From 1; features that tie share their mean rank."""
    live_rank: float
    p_value: float | None
    """Of the shift of its share being chance; None when not known."""
    q_value: float | None = None
    """The same, adjusted for the number of features."""

    @property
    def shift(self) -> float:
        """Live share minus baseline share."""
        return self.live_share - self.baseline_share


@dataclass(frozen=True, slots=True)
class LabelDrift:
    """One output of the model."""

    label: str
    header: str
    ndcg: float | None
    """None where the baseline relies on nothing."""
    drifted: bool
    """NDCG is below the threshold."""
    movement: shares.Movement | None
    features: tuple[FeatureShift, ...]
    """In the order of the baseline's features, new ones last."""
    moved: tuple[str, ...]
    """Features whose share moved beyond chance, largest shift first."""


@dataclass(frozen=True, slots=True)
class AttributionDrift:
    """What was found, for the report page."""

    baseline: Attributions
    live: Attributions
    threshold: float
    labels: tuple[LabelDrift, ...] = ()
    """Empty where baseline and window cannot be compared."""


def analyse(
    baseline: Attributions, live: Attributions, *, threshold: float = THRESHOLD, rate: float = RATE
) -> Finding:
    """Hold the attributions of a window against the baseline's.

    Args:
        baseline: of the package.
        live: of the window, computed in the same space and against the same baseline rows.
        threshold: smallest NDCG that is no violation.
        rate: of false discoveries among moved features.

    Returns:
        A finding of kind `ModelExplainability`, `details` an `AttributionDrift`, with the window's
        `analysis.json`. What cannot be compared is a note, never an error.
    """
    if not live.rows:
        return Finding("ModelExplainability", 0, notes=("the window has no rows: nothing was explained",))
    notes = [*live.notes]
    labels: list[LabelDrift] = []
    if reason := _incomparable(baseline, live):
        notes.append(f"nothing was compared: {reason}")
    else:
        for one in live.labels:
            known = baseline.of_label(one.label)
            if known is None:
                notes.append(f"{one.label} ({one.header}) is not judged: the baseline does not have it")
                continue
            then, now = _Side(known, baseline.features, baseline.rows), _Side(one, live.features, live.rows)
            labels.append(_compared(then, now, threshold, rate))
    if labels and min(baseline.rows, live.rows) < shares.LEAST_ROWS:
        notes.append(f"fewer than {shares.LEAST_ROWS} rows: nobody can tell which shares moved by chance")
    notes += [note for one in labels for note in _notes(one)]
    return Finding(
        kind="ModelExplainability",
        rows=live.rows,
        violations=tuple(violation(one.label, one.ndcg, threshold) for one in labels if one.drifted),
        figures=(*_levels(live), *(figure for one in labels for figure in _drifts(one, live.rows))),
        documents={"analysis.json": clarify.analysis(live)},
        notes=tuple(dict.fromkeys(notes)),
        details=AttributionDrift(baseline, live, threshold, tuple(labels)),
    )


def violation(label: str, found: float | None, threshold: float) -> Violation:
    """SageMaker's record of an NDCG below the threshold."""
    return Violation(
        CHECK,
        f"Feature attribution drift {found} exceeds threshold {threshold}",
        (("label", label), ("metric_name", "shap")),
    )


def _incomparable(baseline: Attributions, live: Attributions) -> str:
    for name, then, now in (
        ("space", baseline.how.space, live.how.space),
        ("aggregation", baseline.how.aggregation, live.how.aggregation),
        ("baseline rows", baseline.how.baseline, live.how.baseline),
    ):
        if then != now:
            return f"the attributions of the baseline have {name} {then}, those of the window {now}"
    return ""


@dataclass(frozen=True, slots=True)
class _Side:
    """One label of baseline or window."""

    label: Label
    features: tuple[str, ...]
    rows: int

    def columns(self, every: Sequence[str]) -> tuple[list[float], ...]:
        """Values, shares and errors of shares for every name; 0 for what the side lacks."""
        one = self.label
        tables = (
            dict(zip(self.features, row, strict=True)) for row in (one.values, one.shares, one.share_errors)
        )
        return tuple([table.get(name, 0.0) for name in every] for table in tables)


def _compared(then: _Side, now: _Side, threshold: float, rate: float) -> LabelDrift:
    baseline, live = then.label.by(then.features), now.label.by(now.features)
    found = ndcg(baseline, live)
    features = _features(then, now)
    moved = [one for one in features if one.q_value is not None and one.q_value <= rate]
    return LabelDrift(
        label=now.label.label,
        header=now.label.header,
        ndcg=found,
        drifted=found is not None and found < threshold,
        movement=shares.moved(baseline, live),
        features=features,
        moved=tuple(one.name for one in sorted(moved, key=lambda one: -abs(one.shift))),
    )


def _features(then: _Side, now: _Side) -> tuple[FeatureShift, ...]:
    every = list(dict.fromkeys((*then.features, *now.features)))
    (a, a_shares, a_errors), (b, b_shares, b_errors) = then.columns(every), now.columns(every)
    a_ranks, b_ranks = shares.ranks(a_shares).tolist(), shares.ranks(b_shares).tolist()
    rows = then.rows, now.rows
    p_values = [
        shares.shift_p_value(b_shares[n] - a_shares[n], (a_errors[n], b_errors[n]), rows)
        for n in range(len(every))
    ]
    made = [
        FeatureShift(name, a[n], b[n], a_shares[n], b_shares[n], a_ranks[n], b_ranks[n], p_values[n])
        for n, name in enumerate(every)
    ]
    adjusted = q_values(p_values)
    return tuple(replace(one, q_value=q) for one, q in zip(made, adjusted, strict=True))


def _levels(live: Attributions) -> Iterator[Figure]:
    """SageMaker's figures: what each feature is worth, and the expected value."""
    for one in live.labels:
        where = (METHOD, ("Label", one.label))
        for name, value, error in zip(live.features, one.values, one.errors, strict=True):
            low, high = _interval(value, error)
            dimensions = (*where, ("ValueType", "GlobalShapValues"))
            yield Figure(f"feature_{name}", value, low, high, live.rows, dimensions=dimensions)
        yield Figure(
            "ExpectedValue", one.expected, n=live.rows, dimensions=(*where, ("ValueType", "ExpectedValue"))
        )


def _drifts(one: LabelDrift, rows: int) -> Iterator[Figure]:
    where = (("Label", one.label),)
    yield Figure("ndcg", one.ndcg, n=rows, dimensions=where)
    movement = one.movement
    for name in ("l1", "js", "spearman"):
        yield Figure(f"attribution_{name}", getattr(movement, name, None), n=rows, dimensions=where)
    for feature in one.features:
        yield Figure(f"share_shift_{feature.name}", feature.shift, n=rows, dimensions=where)


def _interval(value: float, error: float) -> tuple[float | None, float | None]:
    if not math.isfinite(error):
        return None, None
    return value - _NORMAL * error, value + _NORMAL * error


def _notes(one: LabelDrift) -> Iterator[str]:
    if one.ndcg is None:
        yield f"{one.label} has no NDCG: its attributions in the baseline are all zero"
    if one.movement and one.movement.new:
        yield f"{one.label} now relies on {', '.join(one.movement.new)}, which it did not in the baseline"
    if one.movement and one.movement.vanished:
        yield f"{one.label} no longer relies on {', '.join(one.movement.vanished)}"
