"""The project's own thresholds laid over the constraints that a baseline suggested; documents in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from configs.monitor import DataQuality, FeatureRule, ModelQuality
from monitoring.quality.constraints import WORSE_ABOVE

if TYPE_CHECKING:
    from monitoring.drift.shares import Rule

_OVERRIDES = "monitoringConfigOverrides"
_OF_COLUMNS = ("comparison_threshold", "comparison_method", "categorical_drift_method")
_SHARES = ("datatype_check_threshold", "domain_content_threshold")
_PARTS = "distribution_constraints"
_DISTRIBUTION = (*_OF_COLUMNS, "categorical_comparison_threshold")


def data_quality(document: Mapping[str, Any], settings: DataQuality) -> dict[str, Any]:
    """`constraints.json` as the project wants it: thresholds, methods, rules of columns, exclusions.

    What the project leaves at its default stays as the file has it.
    """
    features = [
        _ruled(feature, settings.features.get(feature["name"]))
        for feature in document.get("features", ())
        if feature["name"] not in settings.exclude
    ]
    known = dict(document.get("monitoring_config", {}))
    usual, wanted = _config(DataQuality()), _config(settings)
    config = _over(usual, known) | {name: wanted[name] for name in _SHARES if wanted[name] != usual[name]}
    chosen = {name: one for name, one in wanted[_PARTS].items() if one != usual[_PARTS].get(name)}
    config[_PARTS] = {**_over(usual[_PARTS], known.get(_PARTS, {})), **chosen}
    return {**document, "features": features, "monitoring_config": config}


def _config(settings: DataQuality) -> dict[str, Any]:
    """The part of `monitoring_config` that a project can set."""
    shares = {name: getattr(settings, name) for name in _SHARES}
    switch = {"perform_comparison": _switch(on=settings.perform_comparison)}
    return {**shares, _PARTS: {**switch, **_given(settings, _DISTRIBUTION)}}


def _over(usual: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {**usual, **{name: value for name, value in known.items() if value is not None}}


def rule(settings: DataQuality, stated: Mapping[str, set[str]]) -> Rule:
    """How shares are judged: half of alpha is for them, half for rows; what somebody set counts as it is.

    A constraints file does not say how strict types are, so the project alone does.

    Args:
        settings: of the project.
        stated: by column, what a person changed in the constraints themselves.
    """
    from monitoring.drift.shares import Rule

    given = dict(stated)
    for name, one in settings.features.items():
        given[name] = given.get(name, set()) | {key for key, value in one if value is not None}
    return Rule(settings.mode, settings.alpha / 2, given, settings.strict_types)


def _ruled(feature: Mapping[str, Any], rule: FeatureRule | None) -> dict[str, Any]:
    made = dict(feature)
    if rule is None:
        return made
    if rule.completeness is not None:
        made["completeness"] = rule.completeness
    if rule.is_non_negative is not None:
        made["num_constraints"] = {
            **made.get("num_constraints", {}),
            "is_non_negative": rule.is_non_negative,
        }
    if rule.domains is not None:
        made["string_constraints"] = {**made.get("string_constraints", {}), "domains": list(rule.domains)}
    distribution: dict[str, Any] = _given(rule, _OF_COLUMNS)
    if rule.comparison_threshold is not None:  # one column has one threshold, whatever its kind
        distribution["categorical_comparison_threshold"] = rule.comparison_threshold
    if not rule.perform_comparison:
        distribution["perform_comparison"] = _switch(on=False)
    override = _given(rule, ("datatype_check_threshold", "domain_content_threshold"))
    if distribution:
        override["distribution_constraints"] = distribution
    if override:
        made[_OVERRIDES] = {**made.get(_OVERRIDES, {}), **override}
    return made


def model_quality(document: Mapping[str, Any], settings: ModelQuality) -> dict[str, Any]:
    """The constraints of a baseline's metrics with the project's own limits in their place."""
    made: dict[str, Any] = {}
    for name, value in document.items():
        if not name.endswith("_constraints"):
            made[name] = value
            continue
        metrics = {metric: dict(limit) for metric, limit in value.items()}
        for metric, limit in settings.constraints.items():
            known = metrics.get(metric, {}).get("comparison_operator")
            metrics[metric] = {
                "threshold": limit.threshold,
                "comparison_operator": limit.comparison_operator or known or _worse(metric),
                "additional_properties": None,  # a limit that somebody set has no interval
            }
        made[name] = metrics
    return made


def _worse(metric: str) -> str:
    return "GreaterThanThreshold" if metric in WORSE_ABOVE else "LessThanThreshold"


def _given(settings: DataQuality | FeatureRule, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def _switch(*, on: bool) -> str:
    return "Enabled" if on else "Disabled"
