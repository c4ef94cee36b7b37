"""The ledger keeps its word on SQLite and on PostgreSQL."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from registry.deliveries import Deliveries
from registry.entry import GENESIS, Entry, Kind
from registry.errors import Conflict, LedgerDamaged
from registry.gestures import Gestures
from registry.ledger import Ledger
from registry.tables import create_tables, metadata, open_store
from tests.postgres import postgres_url  # noqa: F401  (a fixture)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def url(request, tmp_path) -> str:
    return (
        f"sqlite:///{tmp_path / 'store.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )


@pytest.fixture
def engine(url) -> Iterator[Engine]:
    engine = open_store(url)
    metadata.drop_all(engine)
    create_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine) -> Ledger:
    return Ledger(engine)


def entry(**changes) -> Entry:
    plain = Entry(
        str(uuid.uuid4()), NOW, Kind.APPROVED, "late-arrivals", "1", actor="alice", details={"a": [1, None]}
    )
    return replace(plain, **changes)


def test_an_entry_comes_back_as_it_was_written_with_place_and_hash(ledger):
    first = ledger.append(entry(policy='{"persons":1}', comment="Übernahme ✓"))
    second = ledger.append(entry())
    assert (first.seq, first.previous, second.seq, second.previous) == (1, GENESIS, 2, first.hash)
    assert ledger.entries() == [first, second]
    assert ledger.entries(since=1) == [second]
    assert ledger.entries("other") == []
    assert ledger.verify() == 2
    assert ledger.verify(head=first.hash) == 2


def test_appending_the_same_id_again_changes_nothing(ledger):
    act = entry()
    assert ledger.append(act) == ledger.append(replace(act, at=NOW + timedelta(hours=1)))
    assert ledger.verify() == 1


def test_a_stale_decision_is_refused(ledger):
    ledger.append(entry(), after=0)
    with pytest.raises(Conflict, match="look at it again"):
        ledger.append(entry(), after=0)
    ledger.append(entry(version="2"), after=0)


@pytest.mark.parametrize(
    "change", ["UPDATE ledger SET actor = 'mallory'", "DELETE FROM ledger WHERE seq = 1"]
)
def test_the_database_refuses_changes(ledger, engine, change):
    ledger.append(entry())
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(change))
    assert ledger.verify() == 1


def test_tables_are_made_once(engine, ledger):
    ledger.append(entry())
    create_tables(engine)
    assert ledger.verify() == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("UPDATE ledger SET actor = 'mallory' WHERE seq = 2", "entry 2 .* was changed"),
        ("UPDATE ledger SET policy_hash = 'x' WHERE seq = 3", "entry 3 .* was changed"),
        ("UPDATE ledger SET details = '{' WHERE seq = 1", "entry 1 .* was changed"),
        ("DELETE FROM ledger WHERE seq = 2", "entry 2 is missing"),
    ],
)
def test_verification_names_the_first_bad_row(engine, ledger, change, complaint):
    for _ in range(3):
        ledger.append(entry())
    _without_triggers(engine, change)
    with pytest.raises(LedgerDamaged, match=complaint):
        ledger.verify()


def test_a_cut_off_end_is_found_by_a_noted_head(engine, ledger):
    ledger.append(entry())
    head = ledger.append(entry()).hash
    _without_triggers(engine, "DELETE FROM ledger WHERE seq = 2")
    assert ledger.verify() == 1
    with pytest.raises(LedgerDamaged, match="cut off"):
        ledger.verify(head)


def test_processes_may_write_at_once(url, engine, ledger):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(url, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert ledger.verify() == 75 + 1
    assert len(ledger.entries("contended")) == 1


def test_a_gesture_is_pending_until_confirmed(engine):
    gestures = Gestures(engine)
    what = {"model": "m", "version": "1", "actor": "alice", "authenticated": True, "peer": "127.0.0.1"}
    kept = gestures.begin(at=NOW, value="Approved", **what)
    dropped = gestures.begin(at=NOW, value="Rejected", **what)
    gestures.confirm(kept)
    gestures.drop(dropped)
    (gesture,) = gestures.list("m", "1")
    assert (gesture.seq, gesture.at, gesture.value, gesture.confirmed) == (kept, NOW, "Approved", True)
    assert gestures.list("m", "2") == []


def test_pruning_keeps_the_last_gesture_of_a_version(engine):
    gestures = Gestures(engine)
    for value in ("Approved", "Rejected"):
        gestures.begin(at=NOW, model="m", version="1", value=value, actor="", authenticated=False, peer="")
    assert gestures.prune(NOW + timedelta(days=1)) == 1
    assert [gesture.value for gesture in gestures.list()] == ["Rejected"]


def test_a_delivery_is_new_once(engine):
    deliveries = Deliveries(engine)
    assert deliveries.first("a", NOW)
    assert not deliveries.first("a", NOW)
    assert deliveries.prune(NOW + timedelta(minutes=11)) == 1
    assert deliveries.first("a", NOW)


def _write(url: str, number: int) -> None:
    engine = open_store(url)
    create_tables(engine)
    ledger = Ledger(engine)
    for _ in range(25):
        ledger.append(entry(actor=f"writer {number}"))
    ledger.append(entry(id="00000000-0000-0000-0000-000000000001", model="contended"))
    engine.dispose()


def _without_triggers(engine: Engine, change: str) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER ledger_no_update"))
            connection.execute(text("DROP TRIGGER ledger_no_delete"))
        else:
            connection.execute(text("ALTER TABLE ledger DISABLE TRIGGER USER"))
        connection.execute(text(change))
