"""`constraints.json`: what a window must meet, suggested from a baseline and editable by hand.

The file is Model Monitor's. Overrides of a single feature are understood in both spellings
(`monitoringConfigOverrides`, `monitoring_config_overrides`) and at both places (on the feature, or inside
its `string_constraints` or `num_constraints`), for every threshold and every kind of column, and go back to
where they stood. Keys that are not known pass through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitoring.drift import settings as config
from monitoring.drift.settings import ConstraintsError, Settings

if TYPE_CHECKING:
    from monitoring.profiles import ColumnProfile, Profile

OVERRIDES = ("monitoring_config_overrides", "monitoringConfigOverrides")
"""Both spellings; the second, which is the documented one, wins where both are given."""
UNIQUE_SHARE = 0.1
"""A text column has a domain when at most this share of its distinct values was seen only once."""
_NUMBERS, _TEXTS = "num_constraints", "string_constraints"
_TYPES = ("Integral", "Fractional", "String", "Boolean", "Unknown")


@dataclass(frozen=True, slots=True)
class Override:
    """Settings that one feature has for itself."""

    place: tuple[str, ...]
    """Keys that lead to it in the feature's object, the spelling last."""
    settings: Mapping[str, Any]
    """As the file has it; the same keys as `monitoring_config`."""


@dataclass(frozen=True, slots=True)
class FeatureConstraints:
    """What one column must meet."""

    name: str
    inferred_type: str
    completeness: float | None = None
    """Smallest share of values that are present; None is not checked."""
    is_non_negative: bool | None = None
    domains: tuple[str, ...] | None = None
    """The only values of a text column; None is not checked."""
    overrides: tuple[Override, ...] = ()
    """The later one wins."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    unknown_numbers: Mapping[str, Any] = field(default_factory=dict)
    unknown_texts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Constraints:
    """A constraints file as a value."""

    features: tuple[FeatureConstraints, ...]
    """In the order of the baseline's columns."""
    settings: Settings = field(default_factory=Settings)
    version: float = 0.0
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def feature(self, name: str) -> FeatureConstraints | None:
        """The constraints of a column; None when there are none."""
        return next((one for one in self.features if one.name == name), None)

    def settings_of(self, name: str) -> Settings:
        """The settings that hold for a column, its overrides applied."""
        feature, found = self.feature(name), self.settings
        for override in feature.overrides if feature else ():
            found = config.read(override.settings, f"{name}.{'.'.join(override.place)}", found)
        return found


def read(document: Mapping[str, Any]) -> Constraints:
    """A constraints file.

    Raises:
        ConstraintsError: it has another shape, or a value that its key does not take.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("features"), list):
        raise ConstraintsError('constraints must be an object with a list "features"')
    features = tuple(_feature(one, position) for position, one in enumerate(document["features"]))
    names = [one.name for one in features]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConstraintsError(f"constraints name {', '.join(twice)} more than once; keep one entry of each")
    known = {"features", "monitoring_config", "version"}
    constraints = Constraints(
        features,
        config.read(_object(document, "monitoring_config", ""), "monitoring_config"),
        float(document.get("version", 0.0)),
        {key: value for key, value in document.items() if key not in known},
    )
    for name in names:  # an override that cannot be read is an error now, not in the night
        constraints.settings_of(name)
    return constraints


def _feature(document: Any, position: int) -> FeatureConstraints:
    where = f"features[{position}]"
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise ConstraintsError(f"{where} must be an object with a name")
    kind = document.get("inferred_type", "Unknown")
    if kind not in _TYPES:
        raise ConstraintsError(f"{where}.inferred_type must be one of {', '.join(_TYPES)}, not {kind!r}")
    numbers, texts = _object(document, _NUMBERS, where), _object(document, _TEXTS, where)
    domains = texts.get("domains")
    if domains is not None and not isinstance(domains, list):
        raise ConstraintsError(f"{where}.{_TEXTS}.domains must be a list of values")
    known = {"name", "inferred_type", "completeness", _NUMBERS, _TEXTS, *OVERRIDES}
    return FeatureConstraints(
        name=document["name"],
        inferred_type=kind,
        completeness=_share(document.get("completeness"), f"{where}.completeness"),
        is_non_negative=numbers.get("is_non_negative"),
        domains=None if domains is None else tuple(str(value) for value in domains),
        overrides=_overrides(document, where),
        unknown={key: value for key, value in document.items() if key not in known},
        unknown_numbers={k: v for k, v in numbers.items() if k not in {"is_non_negative", *OVERRIDES}},
        unknown_texts={k: v for k, v in texts.items() if k not in {"domains", *OVERRIDES}},
    )


def _overrides(document: Mapping[str, Any], where: str) -> tuple[Override, ...]:
    found = []
    for place in ((_NUMBERS,), (_TEXTS,), ()):
        holder = document.get(place[0], {}) if place else document
        for spelling in OVERRIDES:
            if spelling in holder:
                settings = _object(holder, spelling, ".".join((where, *place)))
                found.append(Override((*place, spelling), settings))
    return tuple(found)


def _object(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConstraintsError(f"{where}.{key} must be an object".lstrip("."))
    return value


def _share(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConstraintsError(f"{where} must be a share from 0 to 1, not {value!r}")
    return float(value)


def document(constraints: Constraints) -> dict[str, Any]:
    """The content of `constraints.json`."""
    return {
        "version": constraints.version,
        "features": [_feature_document(one) for one in constraints.features],
        "monitoring_config": config.document(constraints.settings),
        **constraints.unknown,
    }


def _feature_document(feature: FeatureConstraints) -> dict[str, Any]:
    numbers, texts = dict(feature.unknown_numbers), dict(feature.unknown_texts)
    if feature.is_non_negative is not None:
        numbers = {"is_non_negative": feature.is_non_negative, **numbers}
    if feature.domains is not None:
        texts = {"domains": list(feature.domains), **texts}
    made: dict[str, Any] = {"name": feature.name, "inferred_type": feature.inferred_type}
    if feature.completeness is not None:
        made["completeness"] = feature.completeness
    for override in feature.overrides:
        if override.place[0] in {_NUMBERS, _TEXTS}:
            (numbers if override.place[0] == _NUMBERS else texts)[override.place[1]] = dict(override.settings)
    made |= {_NUMBERS: numbers} if numbers else {}
    made |= {_TEXTS: texts} if texts else {}
    made |= {one.place[0]: dict(one.settings) for one in feature.overrides if len(one.place) == 1}
    return {**made, **feature.unknown}


def suggest(profile: Profile, settings: Settings | None = None) -> Constraints:
    """The constraints that a baseline itself meets; a person may then loosen or tighten them.

    Completeness is the observed share of present values; numbers are non-negative when their minimum is; a
    text column gets a domain when few of its distinct values were seen only once and none was forgotten.
    """
    features = tuple(_suggested(name, column) for name, column in profile.columns.items())
    return Constraints(features, settings or Settings())


def _suggested(name: str, column: ColumnProfile) -> FeatureConstraints:
    kind = column.inferred_type
    numeric = column.numeric if kind in {"Integral", "Fractional"} else None
    filled = numeric is not None and numeric.moments.n > 0
    return FeatureConstraints(
        name=name,
        inferred_type=kind,
        completeness=column.completeness if column.present + column.missing else None,
        is_non_negative=bool(numeric.moments.minimum >= 0) if numeric is not None and filled else None,
        domains=_domains(column) if kind == "String" else None,
    )


def _domains(column: ColumnProfile) -> tuple[str, ...] | None:
    categories = column.categories
    if categories is None or not categories.exact or not categories.counts:
        return None
    once = sum(count == 1 for count in categories.counts.values())
    return tuple(sorted(categories.counts)) if once <= UNIQUE_SHARE * len(categories.counts) else None
