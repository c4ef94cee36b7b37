"""`monitoring_config` of a constraints file: what is judged, and how strictly.

A feature may override any part of it. Names and defaults are Model Monitor's; `Method` and
`CategoricalMethod` have further values of our own, which another reader of the file may not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

from configs.monitor import CategoricalMethod, Method

_DISTRIBUTION = "distribution_constraints"


class ConstraintsError(ValueError):
    """A constraints file that cannot be understood; the message says where."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration that holds for a feature."""

    evaluate_constraints: bool = True
    """Whether types, completeness, domains and columns are checked."""
    emit_metrics: bool = True
    """Whether figures are published."""
    datatype_check_threshold: float = 1.0
    """Smallest share of the values that must have the type of the baseline."""
    domain_content_threshold: float = 1.0
    """Smallest share of the values that must lie in the domain."""
    perform_comparison: bool = True
    """Whether the distribution is compared with the baseline."""
    comparison_threshold: float = 0.1
    """Largest distance of numbers; for a test, the p-value below which they count as drifted."""
    comparison_method: Method = "Robust"
    categorical_comparison_threshold: float | None = None
    """The same for categories; None is `comparison_threshold`."""
    categorical_drift_method: CategoricalMethod = "LInfinity"
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know, kept for the way back."""
    unknown_distribution: Mapping[str, Any] = field(default_factory=dict)
    """The same inside `distribution_constraints`."""

    @property
    def categorical_threshold(self) -> float:
        """The threshold that holds for categories."""
        own = self.categorical_comparison_threshold
        return self.comparison_threshold if own is None else own


def read(document: Mapping[str, Any], where: str, base: Settings | None = None) -> Settings:
    """Settings of a `monitoring_config` or of one feature's override of it.

    Args:
        document: what the file says; missing keys keep the values of `base`.
        where: named in errors.
        base: what is overridden; None is the defaults.

    Raises:
        ConstraintsError: a value that the key does not take.
    """
    inner = document.get(_DISTRIBUTION, {})
    if not isinstance(inner, Mapping):
        raise ConstraintsError(f"{where}.{_DISTRIBUTION} must be an object")
    flat = {**{k: v for k, v in document.items() if k != _DISTRIBUTION}, **inner}
    known = {
        key: _READERS[key](value, f"{where}.{key}")
        for key, value in flat.items()
        if key in _READERS and value is not None  # a file that types have passed through has null for unset
    }
    settings = replace(base or Settings(), **known)
    return replace(
        settings,
        unknown={
            **settings.unknown,
            **{k: v for k, v in document.items() if k not in _READERS and k != _DISTRIBUTION},
        },
        unknown_distribution={
            **settings.unknown_distribution,
            **{k: v for k, v in inner.items() if k not in _READERS},
        },
    )


def document(settings: Settings) -> dict[str, Any]:
    """The `monitoring_config` object of a file."""
    distribution = {
        "perform_comparison": _switch(on=settings.perform_comparison),
        "comparison_threshold": settings.comparison_threshold,
        "comparison_method": settings.comparison_method,
        "categorical_comparison_threshold": settings.categorical_threshold,
        "categorical_drift_method": settings.categorical_drift_method,
        **settings.unknown_distribution,
    }
    return {
        "evaluate_constraints": _switch(on=settings.evaluate_constraints),
        "emit_metrics": _switch(on=settings.emit_metrics),
        "datatype_check_threshold": settings.datatype_check_threshold,
        "domain_content_threshold": settings.domain_content_threshold,
        _DISTRIBUTION: distribution,
        **settings.unknown,
    }


def _switch(*, on: bool) -> str:
    return "Enabled" if on else "Disabled"


def _enabled(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if value not in {"Enabled", "Disabled"}:
        raise ConstraintsError(f"{where} must be Enabled or Disabled, not {value!r}")
    return bool(value == "Enabled")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConstraintsError(f"{where} must be a number of at least 0, not {value!r}")
    return float(value)


def _method(value: Any, where: str) -> Method:
    return cast("Method", _choice(value, where, get_args(Method)))


def _categorical(value: Any, where: str) -> CategoricalMethod:
    return cast("CategoricalMethod", _choice(value, where, get_args(CategoricalMethod)))


def _choice(value: Any, where: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ConstraintsError(f"{where} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "evaluate_constraints": _enabled,
    "emit_metrics": _enabled,
    "datatype_check_threshold": _number,
    "domain_content_threshold": _number,
    "perform_comparison": _enabled,
    "comparison_threshold": _number,
    "comparison_method": _method,
    "categorical_comparison_threshold": _number,
    "categorical_drift_method": _categorical,
}
