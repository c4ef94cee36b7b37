"""The checks of a window against its constraints, under Model Monitor's names and with its sentences.

Three of them differ from Model Monitor on purpose. Columns are compared by name, not by number, so that a
rename is seen. An integral number is a valid Fractional, and any value a valid String, unless `strict`: a
column of fractions may hold a 7. And `is_non_negative` is checked, as `is_non_negative_check`, which Model
Monitor writes into the file and has no documented check for.

With a `Judge` a share violates only when it is worse than its constraint by more than chance explains; see
`shares`. Without one the bare shares are compared, as Model Monitor does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from monitoring.drift.comparison import FeatureDrift, curve
from monitoring.drift.constraints import Constraints, FeatureConstraints
from monitoring.drift.settings import Settings
from monitoring.drift.shares import Judge, Unmet, beyond_baseline, beyond_threshold, new_categories
from monitoring.findings import Violation
from monitoring.profiles import Categories, ColumnProfile, Profile, TypeCounts

DATA_TYPE = "data_type_check"
COMPLETENESS = "completeness_check"
DRIFT = "baseline_drift_check"
MISSING_COLUMN = "missing_column_check"
EXTRA_COLUMN = "extra_column_check"
CATEGORICAL_VALUES = "categorical_values_check"
NON_NEGATIVE = "is_non_negative_check"
"""Ours."""
NUMBERS = frozenset({"Integral", "Fractional"})
_SETTERS = {
    DATA_TYPE: {"datatype_check_threshold"},
    COMPLETENESS: {"completeness"},
    CATEGORICAL_VALUES: {"domains", "domain_content_threshold"},
    NON_NEGATIVE: {"is_non_negative"},
}
"""What a person sets of a column to have a check held against that number."""


def violations(
    constraints: Constraints,
    window: Profile,
    drifts: Iterable[FeatureDrift] = (),
    below: Iterable[Unmet] | None = None,
    *,
    strict: bool = False,
) -> tuple[Violation, ...]:
    """Every constraint that the window does not meet: columns first, then by column in the file's order.

    Args:
        constraints: what it must meet.
        window: its profile.
        drifts: comparisons with the baseline.
        below: what `unmet` found; None compares the bare shares.
        strict: only the very type of the baseline counts as that type.
    """
    far = {drift.name: drift for drift in drifts if drift.drifted}
    worse = tuple(unmet(constraints, window, strict=strict) if below is None else below)
    found = list(columns(constraints, window))
    for feature in constraints.features:
        found += [
            _violation(one.name, one.check, one.description)
            for one in worse
            if one.name == feature.name and one.violated
        ]
        column = window.columns.get(feature.name)
        if feature.name in far and column is not None and column.rows:
            found.append(_drifted(far[feature.name]))
    return tuple(found)


def unmet(
    constraints: Constraints, window: Profile, *, strict: bool = False, judge: Judge | None = None
) -> tuple[Unmet, ...]:
    """Every share that is worse than its constraint, by column in the file's order; chance or not.

    Args:
        constraints: what the window must meet.
        window: its profile.
        strict: only the very type of the baseline counts as that type.
        judge: says what chance explains; None does not ask.
    """
    asked = [
        check
        for feature in constraints.features
        if (column := window.columns.get(feature.name)) is not None and column.rows
        for check in _checks(feature, column, constraints.settings_of(feature.name), strict=strict)
    ]
    worse = [one for one in asked if one.worse]
    if judge is None:
        return tuple(one.found for one in worse)
    level = judge.alpha / len(asked) if asked else judge.alpha
    return tuple(replace(one.found, p_value=_chance(one, judge, strict=strict), level=level) for one in worse)


def missing_columns(constraints: Constraints, window: Profile) -> tuple[str, ...]:
    """Columns that have constraints and are not in the window."""
    return tuple(one.name for one in constraints.features if one.name not in window.columns)


def new_columns(constraints: Constraints, window: Profile) -> tuple[str, ...]:
    """Columns of the window without constraints; those beginning with `@` are no inputs."""
    known = {one.name for one in constraints.features}
    return tuple(name for name in window.columns if name not in known and not name.startswith("@"))


def columns(constraints: Constraints, window: Profile) -> Iterator[Violation]:
    """Missing and extra columns, one violation each."""
    expected = len(constraints.features)
    missing, new = missing_columns(constraints, window), new_columns(constraints, window)
    numbers = (
        f"Number of columns in current dataset: {expected - len(missing) + len(new)}, "
        f"Number of columns in baseline constraints: {expected}"
    )
    for name in missing:
        if constraints.settings_of(name).evaluate_constraints:
            said = f"There are missing columns in current dataset. {numbers}"
            yield _violation(name, MISSING_COLUMN, said)
    for name in new if constraints.settings.evaluate_constraints else ():
        yield _violation(name, EXTRA_COLUMN, f"There are extra columns in current dataset. {numbers}")


@dataclass(frozen=True, slots=True)
class _Check:
    """One share that is held against a constraint."""

    feature: FeatureConstraints
    column: ColumnProfile
    found: Unmet

    @property
    def worse(self) -> bool:
        return self.found.share < self.found.threshold


def _checks(
    feature: FeatureConstraints, column: ColumnProfile, settings: Settings, *, strict: bool
) -> Iterator[_Check]:
    if not settings.evaluate_constraints:
        return
    fitting, typed = conforming(column.types, feature.inferred_type, strict=strict), column.types.total
    if fitting is not None:
        least = settings.datatype_check_threshold
        said = (
            f"Data type match requirement is not met. Expected data type: {feature.inferred_type}, "
            f"Expected match: {100 * least}%. Observed: Only {100 * fitting}% of data is "
            f"{feature.inferred_type}."
        )
        yield _check(feature, column, DATA_TYPE, fitting, least, typed, said)
    if feature.completeness is not None:
        yield _check(feature, column, COMPLETENESS, column.completeness, feature.completeness, column.rows)
    inside = _inside(feature, column.categories)
    if inside is not None and column.categories is not None:
        least = settings.domain_content_threshold
        yield _check(feature, column, CATEGORICAL_VALUES, inside, least, column.categories.total)
    numeric = column.numeric
    if feature.is_non_negative and numeric and numeric.moments.n:
        share, lowest = 1 - _negative(column) / numeric.moments.n, numeric.moments.minimum
        yield _check(feature, column, NON_NEGATIVE, share, 1.0, numeric.moments.n, _unmet(lowest))


def _check(
    feature: FeatureConstraints,
    column: ColumnProfile,
    check: str,
    share: float,
    threshold: float,
    n: int,
    said: str = "",
) -> _Check:
    bad = round((1 - share) * n)
    return _Check(
        feature, column, Unmet(feature.name, check, share, threshold, bad, n, said or _unmet(share))
    )


def _negative(column: ColumnProfile) -> int:
    """Negative numbers of a column, as few as its sketch leaves possible; at least one if there is any."""
    if column.numeric is None or not column.numeric.moments.n or column.numeric.moments.minimum >= 0:
        return 0
    below = float(curve(column.numeric).below(np.array([np.nextafter(0.0, -1.0)]))[0])
    return max(1, math.floor(below - column.numeric.quantiles.worst))


def _chance(check: _Check, judge: Judge, *, strict: bool) -> float:
    """Probability of a share so bad while nothing changed."""
    name, found = check.feature.name, check.found
    then = judge.baseline.columns.get(name)
    by_hand = judge.given.get(name, frozenset()) & _SETTERS[found.check]
    known = None if then is None or by_hand else _by_baseline(check, then, strict=strict)
    return beyond_threshold(found.bad, found.n, 1 - found.threshold) if known is None else known


def _by_baseline(check: _Check, then: ColumnProfile, *, strict: bool) -> float | None:
    """The same from the rows of the baseline; None when the constraint does not come from them."""
    feature, found = check.feature, check.found
    if found.check == COMPLETENESS:
        own = then.rows and found.threshold == then.completeness
        return beyond_baseline(found.bad, found.n, then.missing, then.rows) if own else None
    if found.check == NON_NEGATIVE:
        n = then.numeric.moments.n if then.numeric else 0
        return beyond_baseline(found.bad, found.n, _negative(then), n) if n else None
    if found.threshold < 1:
        return None
    if found.check == DATA_TYPE:
        share, n = conforming(then.types, feature.inferred_type, strict=strict), then.types.total
        return None if share is None else beyond_baseline(found.bad, found.n, round((1 - share) * n), n)
    known, now = then.categories, check.column.categories
    own = known is not None and set(feature.domains or ()) == set(known.counts)
    return new_categories(known, now) if own and known is not None and now is not None else None


def conforming(types: TypeCounts, expected: str, *, strict: bool = False) -> float | None:
    """Share of the values that have the expected type; None when there is nothing to say.

    Args:
        types: of the present values.
        expected: the baseline's `inferred_type`; every value is Unknown.
        strict: an integral number is no Fractional, and a number no String.
    """
    if not types.total or expected == "Unknown":
        return None
    fitting = {
        "Integral": types.integral,
        "Fractional": types.fractional + (0 if strict else types.integral),
        "Boolean": types.boolean,
        "String": types.string if strict else types.total,
    }
    return fitting[expected] / types.total


def _inside(feature: FeatureConstraints, categories: Categories | None) -> float | None:
    """Share of the values that lie in the domain; None without a domain or values."""
    if feature.domains is None or categories is None or not categories.total:
        return None
    return sum(categories.counts.get(value, 0) for value in set(feature.domains)) / categories.total


def conformity(
    feature: FeatureConstraints, column: ColumnProfile, *, strict: bool = False
) -> dict[str, tuple[float, int]]:
    """The shares that are checked, apart from completeness, and of how many values, by name of the figure."""
    found = {
        "feature_type_match": (
            conforming(column.types, feature.inferred_type, strict=strict),
            column.types.total,
        ),
        "feature_in_domain": (_inside(feature, column.categories), getattr(column.categories, "total", 0)),
    }
    return {name: (share, n) for name, (share, n) in found.items() if share is not None}


def _drifted(drift: FeatureDrift) -> Violation:
    said = f"Baseline drift distance: {drift.distance} exceeds threshold: {drift.threshold}"
    return _violation(drift.name, DRIFT, said)


def _unmet(value: float) -> str:
    return f"Value: {value} does not meet the constraint requirement! "


def _violation(name: str, check: str, description: str) -> Violation:
    return Violation(check, description, (("feature_name", name),))
