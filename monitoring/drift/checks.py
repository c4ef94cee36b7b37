"""The checks of a window against its constraints, under Model Monitor's names and with its sentences.

Three of them differ from Model Monitor on purpose. Columns are compared by name, not by number, so that a
rename is seen. An integral number is a valid Fractional, and any value a valid String, unless `strict`: a
column of fractions may hold a 7. And `is_non_negative` is checked, as `is_non_negative_check`, which Model
Monitor writes into the file and has no documented check for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monitoring.drift.comparison import FeatureDrift
from monitoring.drift.constraints import Constraints, FeatureConstraints
from monitoring.drift.settings import Settings
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


def violations(
    constraints: Constraints, window: Profile, drifts: Iterable[FeatureDrift] = (), *, strict: bool = False
) -> tuple[Violation, ...]:
    """Every constraint that the window does not meet: columns first, then by column in the file's order.

    Args:
        constraints: what it must meet.
        window: its profile.
        drifts: comparisons with the baseline.
        strict: only the very type of the baseline counts as that type.
    """
    far = {drift.name: drift for drift in drifts if drift.drifted}
    found = list(columns(constraints, window))
    for feature in constraints.features:
        column, settings = window.columns.get(feature.name), constraints.settings_of(feature.name)
        if column is None or not column.rows:
            continue
        if settings.evaluate_constraints:
            found += _values(feature, column, settings, strict=strict)
        if feature.name in far:
            found.append(_drifted(far[feature.name]))
    return tuple(found)


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


def _values(
    feature: FeatureConstraints, column: ColumnProfile, settings: Settings, *, strict: bool
) -> Iterator[Violation]:
    share = conforming(column.types, feature.inferred_type, strict=strict)
    if share is not None and share < settings.datatype_check_threshold:
        yield _violation(
            feature.name,
            DATA_TYPE,
            f"Data type match requirement is not met. Expected data type: {feature.inferred_type}, "
            f"Expected match: {100 * settings.datatype_check_threshold}%. "
            f"Observed: Only {100 * share}% of data is {feature.inferred_type}.",
        )
    if feature.completeness is not None and column.completeness < feature.completeness:
        yield _unmet(feature.name, COMPLETENESS, column.completeness)
    inside = _inside(feature, column.categories)
    if inside is not None and inside < settings.domain_content_threshold:
        yield _unmet(feature.name, CATEGORICAL_VALUES, inside)
    numeric = column.numeric
    if feature.is_non_negative and numeric and numeric.moments.n and numeric.moments.minimum < 0:
        yield _unmet(feature.name, NON_NEGATIVE, numeric.moments.minimum)


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


def _drifted(drift: FeatureDrift) -> Violation:
    said = f"Baseline drift distance: {drift.distance} exceeds threshold: {drift.threshold}"
    return _violation(drift.name, DRIFT, said)


def _unmet(name: str, check: str, value: float) -> Violation:
    return _violation(name, check, f"Value: {value} does not meet the constraint requirement! ")


def _violation(name: str, check: str, description: str) -> Violation:
    return Violation(check, description, (("feature_name", name),))
