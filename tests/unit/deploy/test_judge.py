"""From counts to a verdict."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from configs.rollout import Alarm, Judge
from deploy.judge import Case, conclude, enter_step, hear
from deploy.plan import Step
from deploy.rollout import Verdict
from monitoring.alarms import Sample

START = datetime(2026, 1, 1, tzinfo=UTC)
TEN, FULL, SHADOW = Step(10), Step(100), Step(0, mirror=100)


def sample(second, requests, errors=0, slow=0):
    latency = ((5.0, requests - slow), (10.0, requests - slow), (50.0, requests), (math.inf, requests))
    return Sample(START + timedelta(seconds=second), requests, 0, errors, latency)


def heard(*seconds, config=None):
    """Case after seconds of (canary, stable) counts as (requests, errors, slow)."""
    case = Case()
    for number, (canary, stable) in enumerate(seconds):
        case = hear(case, config or Judge(), sample(number, *canary), sample(number, *stable))
    return case


def verdict(case, step=TEN, config=None, alarms=()):
    return conclude(case, config or Judge(), step, alarms, START + timedelta(seconds=60))


def test_too_few_answers_are_inconclusive():
    found = verdict(heard(((49, 0), (400, 0))))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "49 of 50" in found.reason


def test_no_harm_passes():
    assert verdict(heard(((50, 0), (450, 0)))).verdict is Verdict.PASS


def test_harm_fails_even_with_few_answers():
    found = verdict(heard(((8, 6), (72, 0))))
    assert found.verdict is Verdict.FAIL
    assert "errors 6/8 new, 0/72 old" in found.reason
    assert found.harm > 20


def test_a_leaning_case_keeps_baking():
    case = heard(((60, 2), (540, 0)))
    assert math.sqrt(20) < verdict(case).harm < 20
    assert verdict(case).verdict is Verdict.INCONCLUSIVE


def test_a_lean_that_is_certified_to_be_negligible_does_not_hold_the_step():
    case = heard(((4268, 5), (4201, 0)))
    assert math.sqrt(20) < verdict(case).harm < 20
    assert verdict(case).verdict is Verdict.PASS


def test_slow_answers_are_harm_too():
    usual = ((20, 0, 0), (180, 0, 2))
    found = verdict(heard(usual, usual, *[((20, 0, 15), (180, 0, 2))] * 4))
    assert found.verdict is Verdict.FAIL
    assert "slower than" in found.reason


def test_the_latency_bound_is_frozen_and_never_below_the_floor():
    usual = ((20, 0, 0), (180, 0, 0))
    assert heard(usual, usual).slow_after == 10.0
    fast = Judge(latency_floor=timedelta())
    case = heard(usual, usual, ((20, 0, 20), (180, 0, 180)), config=fast)
    assert case.slow_after == 5.0


def test_slower_than_ever_but_both_alike_is_no_harm():
    usual = ((20, 0, 0), (180, 0, 0))
    assert verdict(heard(usual, usual, *[((20, 0, 18), (180, 0, 162))] * 20)).verdict is Verdict.PASS


def test_at_full_weight_only_harm_found_so_far_and_alarms_count():
    assert verdict(heard(((0, 0), (0, 0))), FULL).verdict is Verdict.PASS
    assert verdict(heard(((8, 6), (72, 0))), FULL).verdict is Verdict.FAIL


def test_a_shadow_needs_answers_like_any_step():
    assert verdict(heard(((0, 0), (400, 0))), SHADOW).verdict is Verdict.INCONCLUSIVE


def test_an_alarm_fails_whatever_the_evidence():
    alarm = Alarm.model_validate(
        {"name": "errors", "metric": "error_rate", "threshold": 0.5, "period": timedelta(seconds=10)}
    )
    now = START + timedelta(seconds=60)
    samples = [Sample(now, 10, errors_5xx=9)]
    found = verdict(heard(((50, 0), (450, 0))), alarms=[(alarm, samples)])
    assert (found.verdict, found.reason) == (Verdict.FAIL, "alarm errors")


def test_a_new_step_counts_its_own_answers():
    case = enter_step(heard(((500, 0), (4500, 0))))
    assert verdict(case).verdict is Verdict.INCONCLUSIVE
    assert case.errors.n_c == 500


@pytest.mark.parametrize(("answers", "expected"), [(100, Verdict.INCONCLUSIVE), (2000, Verdict.PASS)])
def test_certified_safety_needs_evidence_of_it(answers, expected):
    strict = Judge(require_safe=True)
    assert verdict(heard(((answers, 0), (answers * 9, 0)), config=strict), config=strict).verdict is expected
