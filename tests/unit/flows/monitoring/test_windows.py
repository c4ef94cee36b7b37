"""Which windows are due."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.monitor import Monitor
from flows.monitoring.windows import Window, call, due, on_demand, window

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def settings(**section):
    return Monitor.model_validate_json(json.dumps(section))


def never(_moment):
    return False


def test_a_window_begins_at_the_previous_time():
    assert window(settings(), "DataQuality", NOON) == Window(NOON, NOON - HOUR, NOON)
    daily = window(settings(schedule="daily"), "DataQuality", NOON.replace(hour=0))
    assert daily.end - daily.start == timedelta(days=1)
    weekdays = settings(schedule="cron(0 6 ? * MON-FRI *)")
    monday = datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert window(weekdays, "DataQuality", monday).start == datetime(2026, 2, 27, 6, tzinfo=UTC)


def test_offsets_move_a_window():
    found = window(settings(start_time_offset="-P8D", end_time_offset="-P1D"), "DataQuality", NOON)
    assert found == Window(NOON, NOON - timedelta(days=8), NOON - timedelta(days=1))
    late = window(settings(end_time_offset="2h"), "DataQuality", NOON)
    assert (late.start, late.end) == (NOON - 3 * HOUR, NOON - 2 * HOUR)


def test_hours_and_folders():
    found = Window(NOON, NOON - timedelta(minutes=90), NOON)
    assert list(found.hours()) == [NOON - 2 * HOUR, NOON - HOUR]
    assert [found.covers(hour) for hour in found.hours()] == [False, True]
    assert found.folder == "2026/03/01/12"
    assert Window(NOON + timedelta(minutes=15), NOON, NOON).folder == "2026/03/01/12/15"


def test_what_was_missed_is_made_up_for_within_bounds():
    found = due(settings(catch_up=2), "DataQuality", NOON + HOUR / 2, NOON - 30 * HOUR, never)
    assert [one.scheduled for one in found] == [NOON - 2 * HOUR, NOON - HOUR, NOON]
    one = due(settings(catch_up=0), "DataQuality", NOON, NOON - 30 * HOUR, never)
    assert [window.scheduled for window in one] == [NOON]
    assert due(settings(), "DataQuality", NOON + HOUR / 2, NOON, never) == ()


def test_asking_for_a_window():
    assert on_demand(NOON - HOUR, NOON) == Window(NOON, NOON - HOUR, NOON)
    with pytest.raises(ValueError, match="ends before it begins"):
        on_demand(NOON, NOON)


SCHEDULES = st.sampled_from(
    ["hourly", "daily", "cron(0/20 8-18 ? * MON-FRI *)", {"every": "15m"}, {"every": "7m"}]
)
MOMENTS = st.integers(0, 700 * 86400).map(
    lambda after: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(0, after)
)


@given(SCHEDULES, MOMENTS, st.integers(0, 5000), st.integers(0, 30))
def test_windows_follow_each_other_without_gap(schedule, now, minutes, most):
    found = due(
        settings(schedule=schedule, catch_up=most),
        "DataQuality",
        now,
        now - timedelta(minutes=minutes),
        never,
    )
    assert len(found) <= most + 1
    assert all(now - timedelta(minutes=minutes) < one.scheduled <= now for one in found)
    assert all(before.end == after.start for before, after in pairwise(found))


@given(SCHEDULES, MOMENTS, st.lists(st.integers(0, 600), min_size=1, max_size=6))
def test_looking_often_or_seldom_finds_the_same_windows_once(schedule, began, pauses):
    wanted, done = settings(schedule=schedule, catch_up=1000), set()
    now = began
    for pause in pauses:
        now += timedelta(minutes=pause)
        fresh = [one.scheduled for one in due(wanted, "DataQuality", now, began, done.__contains__)]
        assert not done & set(fresh)
        done |= set(fresh)
    at_once = {one.scheduled for one in due(wanted, "DataQuality", now, began, never)}
    assert done == at_once


def test_a_run_is_called_for_when_the_last_captures_are_there():
    found = settings(schedule="hourly", model_quality={"schedule": {"every": "15m"}})
    assert call(found, NOON + timedelta(minutes=1), NOON - HOUR) == NOON - HOUR / 4
    assert call(found, NOON + timedelta(minutes=2), NOON - HOUR) == NOON
    assert call(found, NOON + timedelta(minutes=2), NOON) is None
