"""SageMaker's schedule expressions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cron import Cron

NOW = datetime(2026, 11, 23, 16, 50, tzinfo=UTC)
KNOWN = [
    ("cron(0 * ? * * *)", "2026-11-23T16:00", "2026-11-23T17:00"),
    ("cron(0 * * * ? *)", "2026-11-23T16:00", "2026-11-23T17:00"),
    ("cron(0 6 ? * * *)", "2026-11-23T06:00", "2026-11-24T06:00"),
    ("cron(0 0/6 ? * * *)", "2026-11-23T12:00", "2026-11-23T18:00"),
    ("cron(0/15 8-17 ? * MON-FRI *)", "2026-11-23T16:45", "2026-11-23T17:00"),
    ("cron(30 4 ? * 1 *)", "2026-11-22T04:30", "2026-11-29T04:30"),
    ("cron(0 12 L * ? *)", "2026-10-31T12:00", "2026-11-30T12:00"),
    ("cron(0 12 LW * ? *)", "2026-10-30T12:00", "2026-11-30T12:00"),
    ("cron(0 8 1W * ? *)", "2026-11-02T08:00", "2026-12-01T08:00"),
    ("cron(0 12 ? * 6#3 *)", "2026-11-20T12:00", "2026-12-18T12:00"),
    ("cron(0 12 ? * FRIL *)", "2026-10-30T12:00", "2026-11-27T12:00"),
    ("cron(0 0 29 2 ? *)", "2024-02-29T00:00", "2028-02-29T00:00"),
    ("cron(0 0 1,15 JAN,JUL ? 2025-2027)", "2026-07-15T00:00", "2027-01-01T00:00"),
]


@pytest.mark.parametrize(("text", "before", "after"), KNOWN)
def test_known_times(text, before, after):
    cron = Cron.parse(text)
    assert cron.latest(NOW) == datetime.fromisoformat(before).replace(tzinfo=UTC)
    assert cron.after(NOW) == datetime.fromisoformat(after).replace(tzinfo=UTC)


def test_years_end():
    past, future = Cron.parse("cron(0 0 1 1 ? 2020)"), Cron.parse("cron(0 0 1 1 ? 2030)")
    assert past.after(NOW) is None
    assert past.latest(NOW) == datetime(2020, 1, 1, tzinfo=UTC)
    assert future.latest(NOW) is None
    assert future.after(NOW) == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("0 * ? * * *", "six fields"),
        ("cron(0 * ? * *)", "six fields"),
        ("cron(0 * * * * *)", r"needs \?"),
        ("cron(0 * ? * ? *)", r"needs \?"),
        ("cron(60 * ? * * *)", "minutes '60' does not lie within 0 to 59"),
        ("cron(0 24 ? * * *)", "hours"),
        ("cron(0 0 0 * ? *)", "day-of-month"),
        ("cron(0 0 ? 13 * *)", "month"),
        ("cron(0 0 ? * 8 *)", "day-of-week"),
        ("cron(0 0 ? * * 1969)", "year"),
        ("cron(0 5-3 ? * * *)", "hours"),
        ("cron(0 0/0 ? * * *)", "cannot be read"),
        ("cron(0 */x ? * * *)", "cannot be read"),
        ("cron(0 H ? * * *)", "cannot be read"),
        ("cron(0 0 ? * 6#6 *)", "cannot be read"),
    ],
)
def test_one_clear_error(text, about):
    with pytest.raises(ValueError, match=about) as told:
        Cron.parse(text)
    assert "\n" not in str(told.value)


def numbers(low, high):
    one = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.lists(one, min_size=1, max_size=3).map(lambda values: ",".join(map(str, values))),
        st.tuples(one, one).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(one, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )


EXPRESSIONS = st.one_of(
    st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12)).map(
        lambda parts: "cron({} {} {} {} ? *)".format(*parts)
    ),
    st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 12), numbers(1, 7)).map(
        lambda parts: "cron({} {} ? {} {} *)".format(*parts)
    ),
)
MOMENTS = st.integers(0, 3650 * 86400).map(
    lambda after: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(0, after)
)


@given(EXPRESSIONS, MOMENTS)
def test_nothing_lies_between_two_times(text, moment):
    cron = Cron.parse(text)
    before, after = cron.latest(moment), cron.after(moment)
    assert before <= moment < after
    assert cron.after(before) == after
    assert cron.latest(after) == after
    assert cron.latest(after - timedelta(microseconds=1)) == before
