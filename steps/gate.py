"""Thresholds of the project file against an evaluation report. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from configs.build import BiasThreshold, Gate, Threshold
from configs.project import Project
from monitoring.bias.catalogue import BY_NAME
from monitoring.bias.drift import distance
from monitoring.bias.report import Measure
from monitoring.bias.report import read as measures
from steps.errors import EvaluationRefused
from steps.metrics import KNOWN, LOWER_IS_BETTER


@dataclass(frozen=True, slots=True)
class GateResult:
    """One condition and whether it holds."""

    metric: str
    slice: str | None
    passed: bool
    sentence: str
    """For people, with the numbers."""
    value: float | None
    """The metric, or for the champion rule by how much the challenger is better (negative: worse)."""
    limit: float | None


def check(project: Project) -> None:
    """Refuse gates that this project can never decide, before anything is computed.

    Raises:
        EvaluationRefused: an unknown metric, or a slice or facet that is not evaluated.
    """
    known = KNOWN[project.train.task]
    for position, threshold in enumerate(project.gate):
        key = f"gate[{position}]"
        if isinstance(threshold, BiasThreshold):
            _check_bias(project, threshold, key)
            continue
        if threshold.metric not in known:
            near = difflib.get_close_matches(threshold.metric, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise EvaluationRefused(
                f"{key}.metric: there is no {threshold.metric!r} for a {project.train.task} task; {hint}"
                f"known are {', '.join(known)}"
            )
        if threshold.slice is not None:
            column, sign, _ = threshold.slice.partition("=")
            if not sign or column not in project.evaluate.slices:
                raise EvaluationRefused(
                    f"{key}.slice: {threshold.slice!r} must be column=value with a column of evaluate.slices "
                    f"({', '.join(project.evaluate.slices) or 'which is empty'})"
                )


def _check_bias(project: Project, threshold: BiasThreshold, key: str) -> None:
    groups = project.evaluate.bias
    if groups is None:
        raise EvaluationRefused(f"{key}: a bias gate needs the section evaluate.bias; name the facets there")
    wanted = groups.methods or tuple(BY_NAME)
    if threshold.bias not in wanted or threshold.bias not in BY_NAME:
        raise EvaluationRefused(
            f"{key}.bias: {threshold.bias!r} is not computed; known are {', '.join(wanted)}"
        )
    facets = [facet.name for facet in groups.facets] + [" & ".join(one) for one in groups.intersections]
    if threshold.facet not in facets:
        raise EvaluationRefused(
            f"{key}.facet: {threshold.facet!r} is no facet of evaluate.bias; known are {', '.join(facets)}"
        )


def decide(thresholds: Iterable[Gate], report: Mapping[str, Any]) -> tuple[GateResult, ...]:
    """Every condition of every threshold, in order; the gate is passed when all are.

    The champion rule compares on the same rows: the challenger fails when its value is worse than the
    champion's by more than the margin. Without a champion it passes.

    Raises:
        EvaluationRefused: the report has no such metric.
    """
    return tuple(result for threshold in thresholds for result in _results(threshold, report))


def passed(results: Iterable[GateResult]) -> bool:
    """All conditions hold."""
    return all(result.passed for result in results)


def advantage(metric: str, difference: float) -> float:
    """Challenger minus champion, turned so that more is better."""
    return -difference if metric in LOWER_IS_BETTER else difference


def _results(threshold: Gate, report: Mapping[str, Any]) -> list[GateResult]:
    if isinstance(threshold, BiasThreshold):
        return _bias(threshold, report.get("bias") or {})
    found = _metrics(threshold, report["metrics"], report["slices"])
    results = []
    if threshold.min is not None:
        results.append(_limit(threshold, found, threshold.min, at_least=True))
    if threshold.max is not None:
        results.append(_limit(threshold, found, threshold.max, at_least=False))
    if threshold.not_worse_than == "champion":
        results.append(_against_champion(threshold, report))
    return results


def _metrics(
    threshold: Threshold, everything: Mapping[str, Any], slices: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The metric's entry for all rows or for the slice; None when it is not defined there."""
    chosen: Mapping[str, Any] | None = everything
    if threshold.slice is not None:
        column, _, value = threshold.slice.partition("=")
        chosen = next((one["metrics"] for one in slices.get(column, ()) if one["value"] == value), {})
    if threshold.metric not in everything:
        raise EvaluationRefused(
            f"gate: the report has no {threshold.metric!r}; known are {', '.join(everything)}"
        )
    return (chosen or {}).get(threshold.metric)


def _limit(threshold: Threshold, found: dict[str, Any] | None, limit: float, *, at_least: bool) -> GateResult:
    where = _where(threshold)
    if found is None:
        sentence = f"{threshold.metric}{where} cannot be computed: too few rows or only one class"
        return GateResult(threshold.metric, threshold.slice, False, sentence, None, limit)
    value = found["value"]
    holds = value >= limit if at_least else value <= limit
    word = ("at least" if at_least else "at most") if holds else ("below" if at_least else "above")
    sentence = (
        f"{threshold.metric}{where} is {value:.4f} ({found['low']:.4f} to {found['high']:.4f}), "
        f"{word} {'the limit ' if not holds else ''}{limit:g}"
    )
    return GateResult(threshold.metric, threshold.slice, holds, sentence, value, limit)


def _against_champion(threshold: Threshold, report: Mapping[str, Any]) -> GateResult:
    metric, where, champion = threshold.metric, _where(threshold), report["champion"]
    if champion is None:
        sentence = f"{metric}{where} has no champion to compare with yet"
        return GateResult(metric, threshold.slice, True, sentence, None, -threshold.margin)
    found = _metrics(threshold, champion["difference"], champion["slices"])
    if found is None:
        sentence = f"{metric}{where} cannot be compared with the champion: too few rows or only one class"
        return GateResult(metric, threshold.slice, False, sentence, None, -threshold.margin)
    gain = advantage(metric, found["value"])
    low, high = sorted((advantage(metric, found["low"]), advantage(metric, found["high"])))
    holds = gain >= -threshold.margin
    side = "better" if gain >= 0 else "worse"
    sentence = (
        f"{metric}{where} is {abs(gain):.4f} {side} than champion {champion['name']} on the same rows "
        f"(advantage {low:+.4f} to {high:+.4f}); {threshold.margin:g} worse is allowed"
    )
    return GateResult(metric, threshold.slice, holds, sentence, gain, -threshold.margin)


def _where(threshold: Threshold) -> str:
    return f" for {threshold.slice}" if threshold.slice else ""


def _bias(threshold: BiasThreshold, bias: Mapping[str, Any]) -> list[GateResult]:
    """The limits for every group of the facet; a group that cannot be judged fails."""
    analysis = bias.get("analysis")
    found = [
        one
        for one in (measures(analysis) if analysis else ())
        if (one.metric, one.facet) == (threshold.bias, threshold.facet)
        and threshold.value in {None, one.facet_value}
    ]
    if not found:
        group = threshold.facet if threshold.value is None else f"{threshold.facet}={threshold.value}"
        why = " ".join(bias.get("notes", ())) or "the report has no such group"
        sentence = f"{threshold.bias} for {group} cannot be judged: {why}"
        return [GateResult(threshold.bias, group, False, sentence, None, None)]
    return [result for one in found for result in _bias_limits(threshold, one)]


def _bias_limits(threshold: BiasThreshold, one: Measure) -> list[GateResult]:
    group, value = f"{one.facet}={one.facet_value}", one.value
    if value is None:
        sentence = f"{one.metric} for {group} cannot be judged: {one.error}"
        return [GateResult(one.metric, group, False, sentence, None, None)]
    neutral = f"{BY_NAME[one.metric].neutral:g}"
    away = distance(one.metric, value, "clarify")
    wanted: tuple[tuple[float | None, Callable[[float], bool], str, str], ...] = (
        (threshold.min, lambda limit: value >= limit, "at least", "below the limit"),
        (threshold.max, lambda limit: value <= limit, "at most", "above the limit"),
        (
            threshold.within,
            lambda limit: away <= limit,
            f"within {neutral} ±",
            f"farther from {neutral} than",
        ),
    )
    width = "" if one.low is None or one.high is None else f" ({one.low:.4f} to {one.high:.4f})"
    return [
        GateResult(
            one.metric,
            group,
            holds(limit),
            f"{one.metric} for {group} is {value:.4f}{width}, {good if holds(limit) else bad} {limit:g}",
            value if math.isfinite(value) else None,
            limit,
        )
        for limit, holds, good, bad in wanted
        if limit is not None
    ]
