"""Threshold alarms: CloudWatch's table of periods and missing data."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.rollout import Alarm
from monitoring.alarms import AlarmState, Sample, bound_at, evaluate, merge, quantile, slower_than, statistic

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def alarm(**changes):
    values = {
        "name": "a",
        "metric": "error_rate",
        "threshold": 0.1,
        "period": timedelta(seconds=10),
    } | changes
    return Alarm.model_validate(values)


def test_fires_when_the_period_breaches():
    samples = [Sample(at(3), requests=100, errors_5xx=20)]
    assert evaluate(alarm(), samples, START, at(10)) is AlarmState.ALARM
    assert evaluate(alarm(threshold=0.3), samples, START, at(10)) is AlarmState.OK


def test_m_of_n_datapoints():
    samples = [Sample(at(5), 100, errors_5xx=50), Sample(at(15), 100), Sample(at(25), 100, errors_5xx=50)]
    two_of_three = alarm(evaluation_periods=3, datapoints_to_alarm=2)
    assert evaluate(two_of_three, samples, START, at(30)) is AlarmState.ALARM
    assert evaluate(alarm(evaluation_periods=3), samples, START, at(30)) is AlarmState.OK


@pytest.mark.parametrize(
    ("treat", "expected"),
    [
        ("missing", AlarmState.INSUFFICIENT_DATA),
        ("ignore", AlarmState.INSUFFICIENT_DATA),
        ("breaching", AlarmState.ALARM),
        ("notBreaching", AlarmState.OK),
    ],
)
def test_missing_data(treat, expected):
    assert evaluate(alarm(treat_missing_data=treat), [], START, at(10)) is expected


def test_says_nothing_before_a_whole_period_has_passed():
    samples = [Sample(at(3), requests=100, errors_5xx=100)]
    assert evaluate(alarm(), samples, START, at(9)) is AlarmState.INSUFFICIENT_DATA


def test_old_samples_do_not_count():
    samples = [Sample(at(3), requests=100, errors_5xx=100), Sample(at(15), requests=100)]
    assert evaluate(alarm(), samples, START, at(20)) is AlarmState.OK


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ("GreaterThanThreshold", AlarmState.OK),
        ("GreaterThanOrEqualToThreshold", AlarmState.ALARM),
        ("LessThanThreshold", AlarmState.OK),
        ("LessThanOrEqualToThreshold", AlarmState.ALARM),
    ],
)
def test_comparisons_at_the_threshold(comparison, expected):
    samples = [Sample(at(3), requests=10, errors_4xx=1)]
    assert evaluate(alarm(comparison=comparison), samples, START, at(10)) is expected


def test_metrics():
    samples = [Sample(at(1), 10, 2, 3, other={"timeouts": 4}), Sample(at(2), 10, 0, 0, other={"timeouts": 2})]
    assert statistic("error_rate", "average", samples) == 0.25
    assert statistic("error_4xx_rate", "average", samples) == 0.1
    assert statistic("error_5xx_rate", "sum", samples) == 3
    assert statistic("requests", "sum", samples) == 20
    assert statistic("timeouts", "sum", samples) == 6
    assert statistic("timeouts", "average", samples) == 3
    assert statistic("unheard_of", "sum", samples) is None
    assert statistic("error_rate", "average", []) is None


HISTOGRAM = ((1.0, 50), (5.0, 90), (10.0, 99), (math.inf, 100))


def test_quantiles_interpolate_inside_the_bucket():
    assert quantile(HISTOGRAM, 0.5) == 1.0
    assert quantile(HISTOGRAM, 0.7) == pytest.approx(3.0)
    assert quantile(HISTOGRAM, 1.0) == 10.0
    assert quantile((), 0.5) is None
    assert statistic("latency", "p99", [Sample(at(1), 100, latency=HISTOGRAM)]) == 10.0


def test_slow_answers_are_counted_at_a_bound():
    assert slower_than(HISTOGRAM, 5.0) == 10
    assert slower_than(HISTOGRAM, 6.0) == 1
    assert slower_than((), 5.0) == 0
    assert bound_at(HISTOGRAM, 0.9) == 5.0
    assert bound_at((), 0.9) is None


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), max_size=5))
def test_merged_histograms_add_up(parts):
    bounds = (1.0, 5.0, 10.0, math.inf)
    cumulative = [tuple(zip(bounds, (sum(p[: i + 1]) for i in range(4)), strict=True)) for p in parts]
    merged = merge(cumulative)
    assert [count for _, count in merged] == (
        [sum(sum(p[: i + 1]) for p in parts) for i in range(4)] if parts else []
    )
