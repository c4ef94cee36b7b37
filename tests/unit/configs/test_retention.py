from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from configs.retention import GRACE, Item, Retention, expired

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
