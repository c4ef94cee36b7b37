"""Whatever crashes wherever: one approval is one deployment, and the ledger ends where people left it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from registry.approvals import Desk
from registry.port import STATUS
from registry.reconcile import Reconciler
from registry.standing import standing
from tests.unit.registry.world import World

VALUES = ("Approved", "PendingManualApproval", "Rejected")


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Burns at one effect: before it, or after it; or lets another process run just then."""

    def __init__(self, at, after, instead=None) -> None:
        self.left, self.after, self.instead = at, after, instead

    def around(self, effect):
        self.left -= 1
        if self.left != 0:
            return effect()
        if not self.after:
            self._burn()
        result = effect()
        if self.after:
            self._burn()
        return result

    def _burn(self) -> None:
        if self.instead is None:
            raise Crash
        self.instead()


class Fused:
    """A registry and a ledger whose every effect, down to the single tag, goes over the fuse."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self.world, self.fuse = world, fuse

    def versions(self, model=None):
        return self.world.registry.versions(model)

    def annotate(self, model, version, tags, description=None) -> None:
        registry = self.world.registry
        if description is not None:
            self.fuse.around(lambda: registry.annotate(model, version, {}, description))
        for key, value in tags.items():
            self.fuse.around(lambda key=key, value=value: registry.annotate(model, version, {key: value}))

    def set_alias(self, model, alias, version) -> None:
        self.fuse.around(lambda: self.world.registry.set_alias(model, alias, version))

    def download(self, version, path, folder):
        return self.world.registry.download(version, path, folder)

    def append(self, entry, after=None):
        return self.fuse.around(lambda: self.world.ledger.append(entry, after))

    def entries(self, *args, **kwargs):
        return self.world.ledger.entries(*args, **kwargs)

    def trigger(self, approval) -> str:
        return self.fuse.around(lambda: self.world.trigger(approval))


def scan(world: World, fuse: Fuse) -> None:
    fused = Fused(world, fuse)
    desk = Desk(fused, fused, world.gestures, world.desk.shelf)
    try:
        Reconciler(desk, fused.trigger).scan(world.tick())
    except Crash:
        return


CRASHES = st.lists(
    st.one_of(
        st.sampled_from(VALUES),
        st.tuples(st.integers(1, 12), st.booleans()),
    ),
    max_size=14,
)


def settle_and_check(world: World, acts: list[str]) -> None:
    for _ in range(3):
        Reconciler(world.desk, world.trigger).scan(world.tick())
    world.ledger.verify()
    entries = world.ledger.entries("late-arrivals", "1")
    approvals = [entry.id for entry in entries if entry.kind == "approved"]
    assert len(approvals) == len(set(approvals)) <= acts.count("Approved")
    assert set(world.triggered) <= set(approvals)
    started = [entry.details["approval"] for entry in entries if entry.kind == "triggered"]
    assert len(started) == len(set(started))
    current = standing(entries)
    assert world.version().tags[STATUS] == current.status == (acts[-1] if acts else "PendingManualApproval")
    if current.approval:
        assert current.approval.id in world.triggered
        assert world.version().tags["approval.id"] == current.approval.id


@given(CRASHES)
def test_crashes_between_any_two_effects(story):
    with tempfile.TemporaryDirectory() as folder:
        world, acts = World(Path(folder)), []
        world.build()
        for event in story:
            if isinstance(event, str):
                world.set_tag(event, by="alice")
                acts.append(event)
            else:
                scan(world, Fuse(*event))
        settle_and_check(world, acts)
        world.engine.dispose()


@given(CRASHES)
def test_another_process_scanning_in_between(story):
    with tempfile.TemporaryDirectory() as folder:
        world, acts = World(Path(folder)), []
        world.build()

        def other() -> None:
            scan(world, Fuse(-1, after=False))

        for event in story:
            if isinstance(event, str):
                world.set_tag(event, by="alice")
                acts.append(event)
            else:
                scan(world, Fuse(*event, instead=other))
        settle_and_check(world, acts)
        world.engine.dispose()


@given(CRASHES)
def test_a_person_acting_in_between(story):
    with tempfile.TemporaryDirectory() as folder:
        world, acts = World(Path(folder)), []
        world.build()
        values = iter([event for event in story if isinstance(event, str)])

        def person() -> None:
            if value := next(values, None):
                world.set_tag(value, by="alice")
                acts.append(value)

        for event in story:
            if isinstance(event, str):
                person()
            else:
                scan(world, Fuse(*event, instead=person))
        settle_and_check(world, acts)
        world.engine.dispose()


@given(CRASHES)
def test_crashes_where_nothing_records_gestures(story):
    """Plain tags: acts between two scans may be merged into the last one, but nothing is triggered twice."""
    with tempfile.TemporaryDirectory() as folder:
        world, count = World(Path(folder)), 0
        world.build()
        for event in story:
            if isinstance(event, str):
                world.set_tag(event)
                count += event == "Approved"
            else:
                scan(world, Fuse(*event))
        for _ in range(3):
            Reconciler(world.desk, world.trigger).scan(world.tick())
        world.ledger.verify()
        approvals = [entry.id for entry in world.ledger.entries() if entry.kind == "approved"]
        assert len(approvals) <= count
        assert set(world.triggered) <= set(approvals)
        assert world.version().tags[STATUS] == standing(world.ledger.entries()).status
        world.engine.dispose()
