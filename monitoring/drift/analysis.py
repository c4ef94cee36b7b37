"""Data quality of one window: every check, distance and observation, as one finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from monitoring.drift import checks, discoveries, observations
from monitoring.drift import constraints as rules
from monitoring.drift.comparison import FeatureDrift, compare
from monitoring.drift.components import Rebuilt
from monitoring.drift.constraints import Constraints
from monitoring.drift.discoveries import Dependence
from monitoring.drift.isolation import RowOutliers
from monitoring.drift.observations import NewCategories, Observation
from monitoring.drift.outliers import Outliers, outliers
from monitoring.drift.over_time import Standing
from monitoring.drift.shares import Rule, Unmet
from monitoring.findings import Figure, Finding
from monitoring.profiles import ColumnProfile, Profile

RATE = 0.05
"""Of false discoveries over all columns, at most."""
BROKEN = (ArithmeticError, LookupError, TypeError, ValueError)
"""What a column that is unlike any other may raise."""


@dataclass(frozen=True, slots=True)
class DataQuality:
    """What was found, for the report page."""

    features: tuple[FeatureDrift, ...] = ()
    """Columns that could be compared, in the order of the constraints."""
    new_columns: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    new_categories: tuple[NewCategories, ...] = ()
    outliers: tuple[Outliers, ...] = ()
    observations: tuple[Observation, ...] = ()
    discoveries: tuple[str, ...] = ()
    """Columns whose q-value is at most the rate: changed beyond chance, far enough to matter or not."""
    shares: tuple[Unmet, ...] = ()
    """Shares worse than their constraints, also those that chance explains."""
    incomparable: Mapping[str, str] = field(default_factory=dict)
    """Why a column could not be compared, by name."""
    rows: RowOutliers | None = None
    """Rows unlike those of the baseline."""
    rebuilt: Rebuilt | None = None
    """Whether the columns go together as in the baseline."""
    over_time: Standing | None = None
    """How the alarm over all windows stands."""


def analyse(
    baseline: Profile,
    constraints: Constraints,
    window: Profile,
    *,
    alpha: float | None = None,
    rate: float = RATE,
    dependence: Dependence = "positive",
    rule: Rule | None = None,
) -> Finding:
    """Hold a window against its baseline. Never raises for what is in a column; that becomes a note.

    Args:
        baseline: profile of the data that the model knows.
        constraints: what a window must meet.
        window: profile of the window.
        alpha: level of the correction of `linf_robust`; None is Deequ's constant 1.8.
        rate: of false discoveries.
        dependence: of the columns; `any` is safe and has less power.
        rule: how shares are held against their constraints; None is the default one.

    Returns:
        A finding of kind `DataQuality`, `details` a `DataQuality`, with the window's `statistics.json` and
        `constraints.json`.
    """
    if not window.rows:
        return Finding("DataQuality", 0, notes=("the window has no rows: nothing was judged",))
    drifts, reasons = _compared(baseline, constraints, window, alpha)
    adjusted = discoveries.q_values([one.p_value for one in drifts], dependence)
    features = tuple(replace(one, q_value=q) for one, q in zip(drifts, adjusted, strict=True))
    rule = rule or Rule()
    below = checks.unmet(constraints, window, strict=rule.strict, judge=rule.judge(baseline))
    seen = observations.observe(baseline, constraints, window)
    new = observations.new_categories(baseline, window)
    details = DataQuality(
        features,
        checks.new_columns(constraints, window),
        checks.missing_columns(constraints, window),
        new,
        outliers(baseline, window),
        seen,
        tuple(one.name for one in features if one.q_value is not None and one.q_value <= rate),
        below,
        reasons,
    )
    return Finding(
        kind="DataQuality",
        rows=window.rows,
        violations=checks.violations(constraints, window, features, below, strict=rule.strict),
        figures=tuple(figures(constraints, window, features, strict=rule.strict)),
        documents=_documents(constraints, window),
        notes=tuple(_notes(details)),
        details=details,
    )


def _compared(
    baseline: Profile, constraints: Constraints, window: Profile, alpha: float | None
) -> tuple[list[FeatureDrift], dict[str, str]]:
    drifts, reasons = [], {}
    for feature in constraints.features:
        then, now = baseline.columns.get(feature.name), window.columns.get(feature.name)
        settings = constraints.settings_of(feature.name)
        if now is None or not settings.perform_comparison:
            continue
        if then is None:
            reasons[feature.name] = "the baseline profile has no such column"
            continue
        try:
            drifts.append(compare(then, now, settings, alpha))
        except BROKEN as error:
            reasons[feature.name] = str(error) or type(error).__name__
    return drifts, reasons


def figures(
    constraints: Constraints, window: Profile, drifts: tuple[FeatureDrift, ...], *, strict: bool = False
) -> Iterator[Figure]:
    """SageMaker's figures of every column, and what it takes to read them.

    `feature_data_{name}` is the mean, between minimum and maximum; `feature_non_null_{name}` the share of
    present values, `feature_type_match_{name}` of those of the baseline's type, `feature_in_domain_{name}` of
    known categories; `feature_baseline_drift_{name}` the distance that was judged, and under the dimension
    `Distance` the raw distance and the correction for chance.
    """
    far, known = {one.name: one for one in drifts}, {one.name: one for one in constraints.features}
    for name, column in window.columns.items():
        if not constraints.settings_of(name).emit_metrics:
            continue
        yield Figure(f"feature_non_null_{name}", column.completeness, n=column.rows)
        yield from _data(name, column)
        if feature := known.get(name):
            for called, (share, n) in checks.conformity(feature, column, strict=strict).items():
                yield Figure(f"{called}_{name}", share, n=n)
        if name in far:
            one, called = far[name], f"feature_baseline_drift_{name}"
            yield Figure(called, one.distance, n=one.n)
            yield Figure(called, one.raw, n=one.n, dimensions=(("Distance", "raw"),))
            yield Figure(called, one.correction, n=one.n, dimensions=(("Distance", "correction"),))


def _data(name: str, column: ColumnProfile) -> Iterator[Figure]:
    if column.numeric is not None and column.numeric.moments.n and column.inferred_type in checks.NUMBERS:
        moments = column.numeric.moments
        yield Figure(f"feature_data_{name}", moments.mean, moments.minimum, moments.maximum, moments.n)


def _documents(constraints: Constraints, window: Profile) -> dict[str, object]:
    from monitoring.profiles import statistics

    return {
        "statistics.json": statistics.document(window),
        "constraints.json": rules.document(rules.suggest(window, constraints.settings)),
    }


def _notes(details: DataQuality) -> Iterator[str]:
    for name, reason in details.incomparable.items():
        yield f"{name} was not compared: {reason}"
    for share in details.shares:
        if not share.violated and share.p_value is not None:
            yield (
                f"{share.name}: {share.share:.4g} is less than {share.threshold:.4g} ({share.check}), which "
                f"chance explains: probability {share.p_value:.2g}"
            )
    for one in details.new_categories:
        shown = ", ".join(value for value, _ in one.values[:3])
        yield f"{one.name} has {one.distinct:,} new categories in {one.share:.2%} of its values: {shown}"
    yield from (one.sentence for one in details.observations)
    silent = [
        one for one in details.features if one.method == "linf_robust" and one.correction > one.threshold
    ]
    if silent:
        worst = max(silent, key=lambda one: one.correction)
        yield (
            f"in {len(silent)} columns chance explains more than the threshold (up to {worst.correction:.2f} "
            f"with {worst.n:,} values): only a very large drift is seen; take a longer window or method Auto"
        )
