"""Constraints as a Great Expectations suite and back, as plain JSON; Great Expectations itself is not needed.

What both can say goes both ways without loss:

| Constraint                                | Expectation                                  |
|-------------------------------------------|----------------------------------------------|
| the set of columns                        | `expect_table_columns_to_match_set`          |
| `completeness`                            | `expect_column_values_to_not_be_null`        |
| `inferred_type`, datatype_check_threshold | `expect_column_values_to_be_in_type_list`    |
| `is_non_negative`                         | `expect_column_values_to_be_between` 0       |
| `domains`, domain_content_threshold       | `expect_column_values_to_be_in_set`          |

Shares and thresholds become `mostly`. That a column is text is said in the `meta` of the first of them: type
lists of Great Expectations know no `str` column of pandas 3, and every value is a valid text.

Neither direction drops anything in silence: what the other side cannot say comes back as a list of sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from monitoring.drift import settings as config
from monitoring.drift.constraints import OVERRIDES, Constraints, FeatureConstraints, Override
from monitoring.drift.settings import ConstraintsError, Settings

COLUMNS = "expect_table_columns_to_match_set"
NOT_NULL = "expect_column_values_to_not_be_null"
TYPES = "expect_column_values_to_be_in_type_list"
BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"

_INTEGRAL = ("int64", "int32", "Int64", "int", "INTEGER")
_TYPE_LISTS: Mapping[str, tuple[str, ...]] = {
    "Integral": _INTEGRAL,
    "Fractional": ("float64", "float32", "Float64", "float", "DOUBLE", *_INTEGRAL),
    "String": ("object", "str", "string", "VARCHAR"),
    "Boolean": ("bool", "boolean", "BOOLEAN"),
}
_TYPED = frozenset({"Integral", "Fractional", "Boolean"})
"""Types that an expectation is made for."""
_META = "inferred_types"


@dataclass(frozen=True, slots=True)
class Suite:
    """Constraints as a suite."""

    document: Mapping[str, Any]
    """`{"name", "expectations", "meta"}`."""
    unsaid: tuple[str, ...] = ()
    """What no expectation says."""


@dataclass(frozen=True, slots=True)
class FromSuite:
    """A suite as constraints."""

    constraints: Constraints
    unsaid: tuple[str, ...] = ()
    """Expectations that no constraint says, each with its column."""


def suite(constraints: Constraints, name: str = "constraints") -> Suite:
    """The suite that says what the constraints say.

    Args:
        constraints: those.
        name: of the suite.
    """
    names = [one.name for one in constraints.features]
    types = {one.name: one.inferred_type for one in constraints.features if one.inferred_type not in _TYPED}
    said = [_expect(COLUMNS, column_set=names, exact_match=True) | {"meta": {_META: types}}] if names else []
    unsaid = list(_beyond(constraints.settings, "monitoring_config"))
    for feature in constraints.features:
        settings = constraints.settings_of(feature.name)
        if not settings.evaluate_constraints:
            unsaid.append(f"{feature.name}: its constraints are disabled, so no expectation was made")
            continue
        said += _said(feature, settings)
        unsaid += _left_over(feature, settings)
    return Suite({"name": name, "expectations": said, "meta": {}}, tuple(unsaid))


def _said(feature: FeatureConstraints, settings: Settings) -> Iterator[dict[str, Any]]:
    column = {"column": feature.name}
    if feature.inferred_type in _TYPED:
        listed = list(_TYPE_LISTS[feature.inferred_type])
        yield _expect(TYPES, **column, type_list=listed, mostly=settings.datatype_check_threshold)
    if feature.completeness is not None:
        yield _expect(NOT_NULL, **column, mostly=feature.completeness)
    if feature.is_non_negative:
        yield _expect(BETWEEN, **column, min_value=0)
    if feature.domains is not None:
        allowed, mostly = list(feature.domains), settings.domain_content_threshold
        yield _expect(IN_SET, **column, value_set=allowed, mostly=mostly)


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}}


def _left_over(feature: FeatureConstraints, settings: Settings) -> Iterator[str]:
    if feature.inferred_type not in _TYPED and settings.datatype_check_threshold < 1:
        yield f"{feature.name}: datatype_check_threshold"
    if feature.is_non_negative is False:
        yield f"{feature.name}: is_non_negative false (any number is fine)"
    for override in feature.overrides:
        yield from _beyond(config.read(override.settings, feature.name), feature.name, override.settings)
    for key in (*feature.unknown, *feature.unknown_numbers, *feature.unknown_texts):
        yield f"{feature.name}: {key}"


def _beyond(settings: Settings, where: str, given: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Parts of a configuration that speak of distributions, metrics and unknown things."""
    if given is None or "distribution_constraints" in given:
        yield f"{where}: distribution_constraints (distances from a baseline need the baseline's profile)"
    if given is None or "emit_metrics" in given:
        yield f"{where}: emit_metrics"
    for key in settings.unknown:
        yield f"{where}: {key}"


def constraints(document: Mapping[str, Any], settings: Settings | None = None) -> FromSuite:
    """The constraints that say what a suite says.

    Args:
        document: a suite of Great Expectations 1 (`type`) or before (`expectation_type`).
        settings: thresholds of the constraints; None is the defaults. A `mostly` that differs becomes an
            override of its column.

    Raises:
        ConstraintsError: it has no list of expectations.
    """
    listed = document.get("expectations") if isinstance(document, Mapping) else None
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ConstraintsError('a suite must be an object with a list "expectations"')
    columns: dict[str, _Column] = {}
    unsaid = []
    for place, one in enumerate(listed):
        kind, kwargs = _parts(one, place)
        if kind == COLUMNS and kwargs.get("exact_match", True) is not False:
            _name(columns, kwargs, one.get("meta"))
        elif not _learn(columns, kind, kwargs):
            unsaid.append(f"{kwargs['column']}: {kind}" if "column" in kwargs else kind)
    base = settings or Settings()
    features = tuple(one.feature(name, base) for name, one in columns.items())
    return FromSuite(Constraints(features, base), tuple(unsaid))


def _learn(columns: dict[str, _Column], kind: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether a constraint of the column could take the expectation in."""
    name, learn = kwargs.get("column"), _LEARN.get(kind)
    if learn is None or not isinstance(name, str):
        return False
    column = columns.get(name, _Column())
    if not learn(column, kwargs):
        return False
    columns[name] = column
    return True


def _name(columns: dict[str, _Column], kwargs: Mapping[str, Any], meta: Any) -> None:
    """Every column of the set, with its type where only `meta` says it."""
    types = meta.get(_META) if isinstance(meta, Mapping) else None
    for name in kwargs.get("column_set") or ():
        column = columns.setdefault(str(name), _Column())
        told = types.get(name) if isinstance(types, Mapping) else None
        if isinstance(told, str) and told in _TYPE_LISTS:
            column.inferred_type = told


def _parts(one: Any, place: int) -> tuple[str, Mapping[str, Any]]:
    kind = one.get("type", one.get("expectation_type")) if isinstance(one, Mapping) else None
    if not isinstance(kind, str):
        raise ConstraintsError(f"expectations[{place}] has no type; add one")
    kwargs = one.get("kwargs")
    return kind, kwargs if isinstance(kwargs, Mapping) else {}


@dataclass(slots=True)
class _Column:
    """What a suite says of one column, gathered."""

    inferred_type: str = "Unknown"
    completeness: float | None = None
    is_non_negative: bool | None = None
    domains: tuple[str, ...] | None = None
    thresholds: dict[str, float] = field(default_factory=dict)

    def type_list(self, kwargs: Mapping[str, Any]) -> bool:
        given = {str(name) for name in kwargs.get("type_list") or ()}
        for kind in ("Integral", "Boolean", "String", "Fractional"):  # the narrowest first
            if given and given <= set(_TYPE_LISTS[kind]):
                self.inferred_type = kind
                self.thresholds["datatype_check_threshold"] = float(kwargs.get("mostly", 1.0))
                return True
        return False

    def not_null(self, kwargs: Mapping[str, Any]) -> bool:
        self.completeness = float(kwargs.get("mostly", 1.0))
        return True

    def between(self, kwargs: Mapping[str, Any]) -> bool:
        more = kwargs.get("max_value") is not None or kwargs.get("strict_min") or kwargs.get("strict_max")
        if kwargs.get("min_value") != 0 or more or kwargs.get("mostly", 1.0) != 1.0:
            return False
        self.is_non_negative = True
        return True

    def in_set(self, kwargs: Mapping[str, Any]) -> bool:
        self.domains = tuple(str(value) for value in kwargs.get("value_set") or ())
        self.thresholds["domain_content_threshold"] = float(kwargs.get("mostly", 1.0))
        return True

    def feature(self, name: str, base: Settings) -> FeatureConstraints:
        own = {key: value for key, value in self.thresholds.items() if value != getattr(base, key)}
        made = FeatureConstraints(
            name, self.inferred_type, self.completeness, self.is_non_negative, self.domains
        )
        return replace(made, overrides=(Override((OVERRIDES[1],), own),)) if own else made


_LEARN: Mapping[str, Callable[[_Column, Mapping[str, Any]], bool]] = {
    TYPES: _Column.type_list,
    NOT_NULL: _Column.not_null,
    BETWEEN: _Column.between,
    IN_SET: _Column.in_set,
}
