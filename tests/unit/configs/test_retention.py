from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from configs.retention import GRACE, HOUR, CapturedHour, Item, Retention, Watching, expired, expired_hours

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = Retention(timedelta(days=30), at_least=2)


def item(name: str, days: float, kind: str = "package") -> Item:
    return Item(kind, name, (Path(name),), NOW - timedelta(days=days))


def names(*items: Item, in_use: tuple[str, ...] = (), rule: Retention = MONTH) -> list[str]:
    return [one.name for one in expired(items, in_use, rule, NOW)]


def test_the_old_go_longest_unused_first() -> None:
    assert names(item("a", 40), item("b", 1), item("c", 50), item("d", 29), item("e", 31)) == ["c", "a", "e"]


def test_the_newest_of_each_kind_stay_however_old() -> None:
    fits = [item(f"fit{n}", 100 + n, "fit") for n in range(3)]
    packs = [item(f"pack{n}", 200 + n, "pack") for n in range(3)]
    assert names(*fits, *packs) == ["pack2", "fit2"]


def test_what_is_in_use_stays_and_does_not_make_room_for_others() -> None:
    items = [item("a", 40), item("b", 41), item("c", 42), item("d", 43)]
    assert names(*items, in_use=("c",)) == ["d"]


def test_leftovers_of_crashes_go_after_a_day_without_being_counted() -> None:
    assert names(item("young", 0.9, ""), item("old", 1.1, "")) == ["old"]


def test_nothing_goes_that_a_running_flow_may_work_with() -> None:
    at_once = Retention(timedelta(), at_least=0)
    assert names(item("a", 0.9), item("b", 1.1), item("future", -1), rule=at_once) == ["b"]


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.floats(-5, 100)), max_size=12),
    st.sets(st.integers(0, 11).map(str)),
    st.integers(0, 4),
    st.integers(0, 60),
)
def test_laws(made: list[tuple[str, float]], in_use: set[str], at_least: int, days: int) -> None:
    items = [item(str(n), age, kind) for n, (kind, age) in enumerate(made)]
    gone = expired(items, in_use, Retention(timedelta(days=days), at_least), NOW)
    left = [one for one in items if one not in gone]
    assert not {one.name for one in gone} & in_use
    assert all(NOW - one.used > max(GRACE, timedelta(days=days)) for one in gone)
    for kind in "xyz":
        had = sum(one.kind == kind for one in items)
        assert sum(one.kind == kind for one in left) >= min(had, at_least)
        newest = max((one.used for one in gone if one.kind == kind), default=None)
        assert newest is None or sum(one.kind == kind and one.used >= newest for one in left) >= at_least


# ---- captured traffic -------------------------------------------------------------------------------------


def hour(days: float, endpoint: str = "e", variant: str = "v1", touched: float | None = None) -> CapturedHour:
    at = (NOW - timedelta(days=days)).replace(minute=0)
    used = at if touched is None else NOW - timedelta(days=touched)
    return CapturedHour(endpoint, variant, at, Item("captures", f"{endpoint}/{variant}/{days:g}", (), used))


def gone(*hours: CapturedHour, watching: dict[str, Watching] | None = None, days: float = 30) -> list[str]:
    return [one.name for one in expired_hours(hours, watching or {}, timedelta(days=days), NOW)]


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_captured_hours_go_when_their_end_is_long_ago() -> None:
    assert gone(hour(29), hour(40), hour(30), hour(31), hour(30.5)) == ["e/v1/40", "e/v1/31", "e/v1/30.5"]


def test_captured_hours_that_were_touched_today_stay() -> None:
    assert gone(hour(40, touched=0.5)) == []
    assert gone(hour(0.5), hour(1.1), days=0) == ["e/v1/1.1"]


def test_a_window_that_is_still_to_be_looked_at_keeps_its_hours() -> None:
    watching = {"e": Watching(ago(100), ago(60), {"v1": ago(1), "v2": ago(1)})}
    hours = [hour(days, endpoint) for days in (70, 61, 60, 59, 40) for endpoint in ("e", "other")]
    assert gone(*hours, watching=watching) == [
        *("e/v1/70", "other/v1/70", "e/v1/61", "other/v1/61"),
        *("other/v1/60", "other/v1/59", "other/v1/40"),
    ]


def test_hours_that_no_monitor_has_read_stay() -> None:
    watching = {"e": Watching(ago(80), ago(2), {"v1": ago(50)})}
    assert gone(hour(60), hour(50), hour(49), watching=watching) == ["e/v1/60", "e/v1/50"]
    assert gone(hour(60, variant="v2"), hour(90, variant="v2"), watching=watching) == ["e/v2/90"]


@given(
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["v1", "v2"]), st.floats(0, 200)), max_size=12),
    st.floats(0, 200),
    st.floats(0, 200),
    st.floats(0, 200),
    st.integers(0, 60),
)
def test_laws_of_captured_hours(
    made: list[tuple[str, str, float]], begun: float, needed: float, read: float, days: int
) -> None:
    hours = [hour(age, endpoint, variant) for endpoint, variant, age in made]
    watching = {"x": Watching(ago(begun), ago(needed), {"v1": ago(read)})}
    left = expired_hours(hours, watching, timedelta(days=days), NOW)
    for one in hours:
        if one.item in left:
            assert one.at + HOUR < NOW - max(GRACE, timedelta(days=days))
            assert one.endpoint == "y" or one.at + HOUR <= ago(needed)
            unread = one.variant != "v1" or one.at > ago(read)
            assert one.endpoint == "y" or not unread or one.at + HOUR <= ago(begun)
    assert expired_hours(hours, {}, timedelta(days=days), NOW)[: len(left)] or not left
