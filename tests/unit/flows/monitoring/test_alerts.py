"""When executions become an alarm."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.monitor import MonitorAlarm
from flows.monitoring.alerts import actions, breaches, change, concerns, count
from flows.monitoring.executions import AlertStatus, Execution, Status
from flows.monitoring.windows import Window
from monitoring.findings import Figure, Violation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DRIFT = Violation("baseline_drift_check", "distance: 0.3 exceeds", (("feature_name", "age"),))
OVER_TIME = Violation("drift_over_time_check", "", (("feature_name", "@inputs"),))
BIAS = Violation("bias_drift_check", "", (("facet", "sex"), ("metric_name", "CI")))


def alarm(**more):
    return MonitorAlarm.model_validate_json(json.dumps({"name": "a", "monitor": "DataQuality", **more}))


def execution(number, *, bad, version="3", rows=10, status=None):
    scheduled = NOON + number * timedelta(hours=1)
    known = Status.VIOLATED if bad else Status.COMPLETED
    return Execution(
        "harbour",
        "data-quality",
        "DataQuality",
        Window(scheduled, scheduled - timedelta(hours=1), scheduled),
        status or known,
        NOON,
        NOON,
        version=version,
        rows=rows,
        violations=(DRIFT,) if bad else (),
    )


def history(*bad, **more):
    """Newest first."""
    return [execution(number, bad=one, **more) for number, one in enumerate(bad)][::-1]


def test_k_of_n():
    two_of_three = alarm(datapoints_to_alert=2, evaluation_period=3)
    assert count(two_of_three, history(True, False, True), {}).status is AlertStatus.IN_ALERT
    assert count(two_of_three, history(True, False, False, True), {}).status is AlertStatus.OK
    assert count(two_of_three, history(True, True), {}).status is AlertStatus.IN_ALERT
    assert count(two_of_three, [], {}).status is AlertStatus.OK


def test_what_says_nothing_does_not_count():
    seen = history(True, True)
    silent = [execution(9, bad=False, rows=0), execution(8, bad=False, status=Status.FAILED)]
    other = replace(execution(7, bad=False), schedule="now-data-quality")
    found = count(alarm(datapoints_to_alert=2, evaluation_period=2), [*silent, other, *seen], {})
    assert (found.breaching, found.seen) == (2, 2)


def test_a_new_version_starts_without_a_past():
    seen = [execution(2, bad=False, version="4"), *history(True, True)]
    assert count(alarm(evaluation_period=3), seen, {}).status is AlertStatus.OK


@pytest.mark.parametrize(
    ("violation", "figure", "about"),
    [
        (DRIFT, "feature_baseline_drift_age", True),
        (DRIFT, "feature_baseline_drift_height", False),
        (OVER_TIME, "drift_over_time", True),
        (OVER_TIME, "feature_drift_over_time_age", False),
        (OVER_TIME, "feature_baseline_drift_age", False),
        (DRIFT, "drift_over_time", False),
        (DRIFT, "feature_drift_over_time_age", False),
        (Violation("row_outliers_check", "", (("feature_name", "@rows"),)), "row_outliers", True),
        (Violation("multivariate_drift_check", "", (("feature_name", "@rows"),)), "row_outliers", False),
        (BIAS, "bias_metric_CI", True),
        (BIAS, "bias_metric_DPL", False),
        (Violation("LessThanThreshold", "", (("metric_name", "f1"),)), "f1", True),
    ],
)
def test_a_violation_concerns_its_figure(violation, figure, about):
    assert concerns(violation, figure) is about


def test_limits_of_a_figure():
    limited = alarm(figure="f1", min=0.5)
    seen = execution(0, bad=True)
    assert breaches(limited, seen, [Figure("f1", 0.4)])
    assert not breaches(limited, seen, [Figure("f1", 0.6), Figure("recall", 0.1)])
    assert not breaches(limited, seen, [Figure("f1", None)])
    assert not breaches(limited, seen, [Figure("f1", 0.6), Figure("f1", 0.1, estimated=True)])
    assert breaches(limited, seen, [Figure("f1", None), Figure("f1", 0.1, estimated=True)])
    far = alarm(figure="feature_baseline_drift_age", max=0.2)
    raw = Figure("feature_baseline_drift_age", 0.3, dimensions=(("Distance", "raw"),))
    assert not breaches(far, seen, [Figure("feature_baseline_drift_age", 0.1), raw])


def test_actions_follow_a_change_once():
    wanted = alarm(actions=["notify", "rollback", "notify"])
    first = execution(0, bad=True)
    began = change(None, count(wanted, [first], {}), first, NOON)
    assert began.status is AlertStatus.IN_ALERT
    assert [one.name for one in actions(wanted, began)] == ["notify", "rollback"]
    assert change(began, count(wanted, [first], {}), first, NOON) is None
    calm = execution(1, bad=False)
    over = change(began, count(wanted, [calm, first], {}), calm, NOON)
    assert over.status is AlertStatus.OK
    assert [one.name for one in actions(wanted, over)] == ["notify"]
    assert change(None, count(wanted, [calm], {}), calm, NOON) is None


def test_an_alarm_begins_anew_with_another_version():
    first, second = execution(0, bad=True), execution(1, bad=True, version="4")
    began = change(None, count(alarm(), [first], {}), first, NOON)
    anew = change(began, count(alarm(), [second, first], {}), second, NOON)
    assert (anew.status, anew.version) == (AlertStatus.IN_ALERT, "4")
    assert actions(alarm(), anew) != actions(alarm(), began)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 10), st.integers(1, 10))
def test_status_is_k_of_the_latest_n(bad, one, other):
    k, n = min(one, other), max(one, other)
    found = count(alarm(datapoints_to_alert=k, evaluation_period=n), history(*bad), {})
    assert (found.status is AlertStatus.IN_ALERT) == (sum(bad[-n:]) >= k)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_every_alarm_that_begins_also_ends(bad, one, other):
    wanted = alarm(datapoints_to_alert=min(one, other), evaluation_period=max(one, other))
    known, told = None, []
    for end in range(1, len(bad) + 1):
        seen = history(*bad[:end])
        became = change(known, count(wanted, seen, {}), seen[0], NOON)
        if became:
            known = became
            told.append(became.status)
    assert told == [AlertStatus.IN_ALERT, AlertStatus.OK] * (len(told) // 2) + [AlertStatus.IN_ALERT] * (
        len(told) % 2
    )
