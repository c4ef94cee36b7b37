"""Whether bias has grown: farther from neutral than in the baseline, or outside an allowed range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

from monitoring.bias.catalogue import BY_NAME
from monitoring.bias.report import Measure
from monitoring.bias.settings import BiasConfig, Mode, Rule
from monitoring.bias.text import shown
from monitoring.findings import Violation
from monitoring.payloads import plain_label

CHECK = "bias_drift_check"
_ABOVE = re.compile(r"\((.+), .+\]")


def distance(metric: str, value: float, mode: Mode) -> float:
    """How far a value is from neutral: 0, for DI 1; in exact mode DI counts by its logarithm."""
    neutral = BY_NAME[metric].neutral
    if metric == "DI" and mode == "exact":
        return abs(math.log(value)) if value > 0 and math.isfinite(value) else math.inf
    return abs(value - neutral)


def check(
    measures: Sequence[Measure], baseline: Sequence[Measure], config: BiasConfig, mode: Mode
) -> tuple[tuple[Violation, ...], tuple[str, ...]]:
    """Violations, and notes on what could not be compared.

    `farther` is SageMaker's rule: the value is farther from neutral than the baseline's. With ten metrics
    nearly every window of a model that has not changed violates it. `evidence` asks that the distance has
    grown by more than chance explains, at `alpha` for all comparisons together. A metric with an allowed
    range is held against the range instead, and violates it when its whole interval lies outside.
    """
    known = {_place(one): one for one in baseline}
    ranged = [one for one in measures if one.metric in config.allowed]
    found = [violation for one in ranged for violation in _outside(one, *config.allowed[one.metric])]
    pairs: list[tuple[Measure, Measure]] = []
    unknown: list[str] = []
    for one in measures:
        if one.value is None or one.metric in config.allowed:
            continue
        before = known.get(_place(one))
        if before is None or before.value is None:
            unknown.append(_named(one))
        else:
            pairs.append((one, before))
    grown, vague = _farther(pairs, mode) if _rule(config, mode) == "farther" else _beyond(pairs, config, mode)
    found += [_violation(one, _requirement(before.value)) for one, before in grown]
    notes = _listed("The baseline has no value to compare with", unknown) if baseline else ()
    return tuple(found), (*notes, *_listed("Not compared, for there is no interval", vague))


Pairs = list[tuple[Measure, Measure]]
"""Metrics of the window with those of the baseline."""


def _rule(config: BiasConfig, mode: Mode) -> Rule:
    return config.rule if config.rule != "auto" else "farther" if mode == "clarify" else "evidence"


def _farther(pairs: Pairs, mode: Mode) -> tuple[Pairs, list[str]]:
    return [pair for pair in pairs if _growth(*pair, mode) > 0], []


def _beyond(pairs: Pairs, config: BiasConfig, mode: Mode) -> tuple[Pairs, list[str]]:
    """Pairs whose distance grew beyond chance, by Bonferroni's rule, and what has no interval."""
    sure = [pair for pair in pairs if _error(pair[0], config, mode) is not None]
    vague = [_named(pair[0]) for pair in pairs if _error(pair[0], config, mode) is None]
    z = NormalDist().inv_cdf(1 - config.alpha / max(1, len(sure)))
    return [pair for pair in sure if _growth(*pair, mode) > z * _chance(pair, config, mode)], vague


def _growth(one: Measure, before: Measure, mode: Mode) -> float:
    """By how much the value is farther from neutral than the baseline's."""
    now, then = (distance(each.metric, each.value or 0.0, mode) for each in (one, before))
    return 0.0 if now == then else now - then


def _chance(pair: tuple[Measure, Measure], config: BiasConfig, mode: Mode) -> float:
    """Standard error of the growth; a baseline without intervals counts as exact."""
    return math.hypot(*(_error(one, config, mode) or 0.0 for one in pair))


def _error(one: Measure, config: BiasConfig, mode: Mode) -> float | None:
    """Standard error of the distance from neutral; None where it is not known."""
    if one.value is None or one.low is None or one.high is None:
        return None
    error = (one.high - one.low) / (2 * config.z)
    if one.metric == "DI" and mode == "exact":
        return error / one.value if one.value > 0 else None
    return error


def ranges(allowed: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Allowed ranges by metric, each as two numbers in order.

    Raises:
        ValueError: there is no such metric, or the ends are in the wrong order.
    """
    made = {}
    for name, (low, high) in allowed.items():
        if name not in BY_NAME or low > high:
            raise ValueError(f"allowed range of {name}: name a metric and give its lower end first")
        made[name] = (float(low), float(high))
    return made


def _place(one: Measure) -> tuple[str, str, str]:
    """What is compared with what; the upper end of a threshold's interval is only the largest value seen."""
    above = _ABOVE.fullmatch(one.facet_value)
    group = f"> {float(above[1]):g}" if above and _number(above[1]) else plain_label(one.facet_value)
    return one.facet, group, one.metric


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _outside(one: Measure, low: float, high: float) -> Iterator[Violation]:
    least = one.value if one.low is None else one.low
    most = one.value if one.high is None else one.high
    if least is not None and most is not None and (most < low or least > high):
        yield _violation(one, f"doesn't meet the allowed range {low} to {high}")


def _requirement(value: float | None) -> str:
    return f"doesn't meet the baseline constraint requirement {shown(value)}"


def _violation(one: Measure, why: str) -> Violation:
    subject = (("facet", one.facet), ("facet_value", one.facet_value), ("metric_name", one.metric))
    return Violation(CHECK, f"Metric value {shown(one.value)} {why}", subject)


def _named(one: Measure) -> str:
    return f"{one.metric} of {one.facet} {one.facet_value}"


def _listed(what: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"{what}: {', '.join(names)}.",) if names else ()
