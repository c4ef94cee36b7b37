"""From counts to a verdict: evidence side by side, threshold alarms, and enough answers to speak at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from configs.rollout import Alarm, Judge
from deploy.plan import Step
from deploy.rollout import Verdict
from monitoring.alarms import AlarmState, Sample, bound_at, evaluate, merge, slower_than
from monitoring.evidence import Evidence, Window, combine, log_absolute, weigh

FREEZE_AFTER = 100
"""Answers of the old version after which its latency quantile is frozen."""
TOLERATED = 0.01
"""Error rate below which, once it is certified, no ratio matters: a step may pass."""


@dataclass(frozen=True, slots=True)
class Case:
    """All the judge remembers of one rollout. Small, and the same after a restart."""

    errors: Evidence = field(default_factory=Evidence)
    """Answers other than 2xx."""
    slow: Evidence = field(default_factory=Evidence)
    """Answers slower than `slow_after`."""
    slow_after: float | None = None
    """Milliseconds; frozen once the old version has given enough answers."""
    reference: tuple[tuple[float, int], ...] = ()
    """Latency histogram of the old version until the freeze."""
    step_requests: int = 0
    """Answers of the new version in the present step."""
    first: datetime | None = None
    """When the new version was first judged; alarms look at nothing older."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The verdict with its reason and the figures people want to see."""

    verdict: Verdict
    reason: str
    harm: float
    """e-value against harmlessness (1 = no evidence either way; rolls back at 1/alpha)."""
    alarms: tuple[tuple[str, AlarmState], ...] = ()


def enter_step(case: Case) -> Case:
    """A new step begins: evidence stays, the count of answers starts anew."""
    return replace(case, step_requests=0)


def hear(case: Case, config: Judge, canary: Sample, stable: Sample) -> Case:
    """Add what both versions answered since the last look."""
    case = replace(_freeze(case, config, stable), first=case.first or canary.at)
    errors = weigh(
        [Window(canary.requests, _errors(canary), stable.requests, _errors(stable))],
        config.margin,
        config.safe_ratio,
        case.errors,
    )
    slow = case.slow
    if case.slow_after is not None:
        window = _slow_window(canary, stable, case.slow_after)
        slow = weigh([window], config.latency_margin, config.safe_ratio, slow)
    return replace(case, errors=errors, slow=slow, step_requests=case.step_requests + canary.requests)


def _errors(sample: Sample) -> int:
    return sample.errors_4xx + sample.errors_5xx


def _slow_window(canary: Sample, stable: Sample, slow_after: float) -> Window:
    """Counts of the latency histograms themselves, so that events never exceed answers."""
    return Window(
        canary.latency[-1][1] if canary.latency else 0,
        slower_than(canary.latency, slow_after),
        stable.latency[-1][1] if stable.latency else 0,
        slower_than(stable.latency, slow_after),
    )


def _freeze(case: Case, config: Judge, stable: Sample) -> Case:
    """Fix the latency bound from answers that are never judged themselves: it must not depend on them."""
    if case.slow_after is not None:
        return case
    if case.reference and case.reference[-1][1] >= FREEZE_AFTER:
        usual = bound_at(case.reference, config.latency_quantile) or 0.0
        floor = config.latency_floor / timedelta(milliseconds=1)
        return replace(case, slow_after=max(usual, floor), reference=())
    return replace(case, reference=merge((case.reference, stable.latency)))


def conclude(
    case: Case,
    config: Judge,
    step: Step,
    alarms: Sequence[tuple[Alarm, Sequence[Sample]]],
    now: datetime,
) -> Opinion:
    """The verdict on the running step.

    Args:
        case: the evidence so far.
        config: the judge's settings.
        step: the step being held.
        alarms: each threshold alarm with the samples of its scope.
        now: the time of the look.
    """
    harm = combine((case.errors.log_harm, case.slow.log_harm))
    states = tuple(
        (alarm.name, evaluate(alarm, samples, case.first or now, now)) for alarm, samples in alarms
    )
    fired = [name for name, state in states if state is AlarmState.ALARM]
    verdict, reason = _verdict(case, config, step, harm, fired)
    return Opinion(verdict, reason, math.exp(min(harm, 700.0)), states)


def _verdict(case: Case, config: Judge, step: Step, harm: float, fired: list[str]) -> tuple[Verdict, str]:
    limit = -math.log(config.alpha)
    if harm >= limit:
        value = math.exp(min(harm, 700.0))
        return Verdict.FAIL, f"the new version does harm: {describe(case)} (e-value {value:.3g})"
    if fired:
        return Verdict.FAIL, f"alarm {', '.join(fired)}"
    if step.weight == 100:
        return Verdict.PASS, f"no harm up to full weight: {describe(case)}" if case.errors.n_s else "no alarm"
    if case.step_requests < config.min_requests:
        return Verdict.INCONCLUSIVE, f"{case.step_requests} of {config.min_requests} answers in this step"
    if harm > limit / 2 and not _negligible(case, limit):
        return Verdict.INCONCLUSIVE, f"leaning to harm: {describe(case)}"
    if config.require_safe and not _safe(case, limit):
        return Verdict.INCONCLUSIVE, f"not yet certified safe: {describe(case)}"
    return Verdict.PASS, f"no harm: {describe(case)}"


def _negligible(case: Case, limit: float) -> bool:
    """The lean comes from errors alone, and they are certified rarer than `TOLERATED`: no reason to wait."""
    return case.slow.log_harm <= limit / 2 and _rare(case, limit)


def _safe(case: Case, limit: float) -> bool:
    return case.errors.log_safe >= limit or _rare(case, limit)


def _rare(case: Case, limit: float) -> bool:
    return log_absolute(case.errors.n_c, case.errors.e_c, TOLERATED) >= limit


def describe(case: Case) -> str:
    """Both arms in one line, for people."""
    errors = f"errors {case.errors.e_c}/{case.errors.n_c} new, {case.errors.e_s}/{case.errors.n_s} old"
    if case.slow_after is None:
        return errors
    new, old = f"{case.slow.e_c}/{case.slow.n_c} new", f"{case.slow.e_s}/{case.slow.n_s} old"
    return f"{errors}; slower than {case.slow_after:g} ms {new}, {old}"
