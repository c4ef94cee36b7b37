"""The queue on disk: one SQLite table, in which each request goes from `queued` to `done`.

queued ──claim──▶ working ──decide──▶ decided ──publish──▶ published ──tell──▶ done
   ▲────release─────┘

`decide` is the commit marker: it succeeds once for a request, and from then on its outcome never changes.
What is before it is repeated after a crash; what is after it may be repeated without harm. One process works
on a queue at a time, held by a lock that the kernel takes back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serving.asynchronous.admission import Accepted
from serving.asynchronous.errors import HomeTaken


class Phase(StrEnum):
    """How far a request has come."""

    QUEUED = "queued"
    WORKING = "working"
    DECIDED = "decided"
    PUBLISHED = "published"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended."""

    completed: bool
    at: float
    """Seconds since 1970."""
    content_type: str = ""
    """Of the object that is put into the store."""
    reason: str = ""
    """Why it failed."""
    answer: bytes | None = None
    """The answer, where the message about it shall carry it."""
    staged: bool = True
    """Whether there is an object to put into the store."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request in the queue."""

    request: Accepted
    attempts: int
    """Times it was begun, this one included; refusals for lack of capacity do not count."""
    tellings: int = 0
    """Times somebody was to be told of its outcome."""
    outcome: Outcome | None = None
    """Once it is decided."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an endpoint has not yet answered."""

    size: int
    """Requests queued and in process."""
    oldest: float | None
    """When the first of them came; None when there is none."""
    in_process: int = 0
    """Those that were begun."""


_metadata = sa.MetaData()
_requests = sa.Table(
    "requests",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("endpoint", sa.String(63), nullable=False),
    sa.Column("inference_id", sa.String(64), nullable=False),
    sa.Column("input_location", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("accept", sa.Text, nullable=False),
    sa.Column("custom_attributes", sa.Text, nullable=False),
    sa.Column("output_location", sa.Text, nullable=False),
    sa.Column("failure_location", sa.Text, nullable=False),
    sa.Column("received", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("timeout", sa.Integer, nullable=False),
    sa.Column("call", sa.String(64)),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tellings", sa.Integer, nullable=False),
    sa.Column("completed", sa.Boolean),
    sa.Column("ended", sa.Float),
    sa.Column("answer_type", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("staged", sa.Boolean),
    sa.UniqueConstraint("endpoint", "call"),
    sa.Index("requests_phase", "phase", "endpoint", "seq"),
)
_announced = sa.Table(
    "announced",
    _metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
)
_UNANSWERED = (Phase.QUEUED, Phase.WORKING, Phase.DECIDED)


class Backlog:
    """The queue in a folder. Calls take about a millisecond each, and come from one thread at a time.

    Raises:
        HomeTaken: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise HomeTaken(f"another process works on the queue in {folder}; end it first") from error
        self._engine = sa.create_engine(f"sqlite:///{folder / 'queue.sqlite'}")
        sa.event.listen(self._engine, "connect", _prepare)
        _metadata.create_all(self._engine)
        with self._engine.begin() as db:  # the process that worked on these has ended
            db.execute(_update(Phase.WORKING).values(phase=Phase.QUEUED))

    def close(self) -> None:
        """Let another process have it."""
        self._engine.dispose()
        os.close(self._lock)

    # ---- requests come ------------------------------------------------------------------------------------

    def add(self, request: Accepted) -> Accepted:
        """Keep a request; when the same call came before, the request it made then."""
        values = {**asdict(request), "call": request.call or None}
        fresh = {"phase": Phase.QUEUED, "not_before": 0.0, "attempts": 0, "tellings": 0}
        with self._engine.begin() as db:
            if request.call:
                same = (_requests.c.endpoint == request.endpoint) & (_requests.c.call == request.call)
                if row := db.execute(sa.select(_requests).where(same)).first():
                    return _accepted(row)
            db.execute(_requests.insert().values(**values, **fresh))
        return request

    # ---- work ---------------------------------------------------------------------------------------------

    def claim(self, endpoint: str, limit: int, now: float) -> list[Entry]:
        """Take up to `limit` requests that may be begun now, the first come first."""
        ready = (_requests.c.endpoint == endpoint) & (_requests.c.not_before <= now)
        return self._take(ready & (_requests.c.expires > now), limit, counted=1)

    def overdue(self, limit: int, now: float) -> list[Entry]:
        """Take up to `limit` requests that have waited too long."""
        return self._take(_requests.c.expires <= now, limit, counted=0)

    def release(self, ident: str, not_before: float, *, counted: bool) -> None:
        """Give a request back; `counted` unless it never met an instance."""
        attempts = _requests.c.attempts - (0 if counted else 1)
        values = {"phase": Phase.QUEUED, "not_before": not_before, "attempts": attempts}
        with self._engine.begin() as db:
            db.execute(_update(Phase.WORKING).where(_requests.c.id == ident).values(values))

    def decide(self, ident: str, outcome: Outcome) -> bool:
        """Say how a request ended: the commit marker; false when that was said before."""
        return self._decide(ident, outcome, Phase.WORKING)

    def revoke(self, ident: str, outcome: Outcome) -> bool:
        """Turn an answer that no store takes into a failure; only while nothing of it was ever visible."""
        return self._decide(ident, outcome, Phase.DECIDED)

    def unpublished(self) -> list[Entry]:
        """Requests that were decided when the process before this one ended."""
        with self._engine.connect() as db:
            found = sa.select(_requests).where(_requests.c.phase == Phase.DECIDED).order_by(_requests.c.seq)
            return [_entry(row) for row in db.execute(found)]

    def recover(self, ident: str) -> Entry | None:
        """After a fault: queue a request in work again; one that is decided is returned, to be published."""
        with self._engine.begin() as db:
            db.execute(_update(Phase.WORKING).where(_requests.c.id == ident).values(phase=Phase.QUEUED))
            decided = (_requests.c.id == ident) & (_requests.c.phase == Phase.DECIDED)
            row = db.execute(sa.select(_requests).where(decided)).first()
        return _entry(row) if row else None

    def published(self, ident: str) -> None:
        """The object is in the store."""
        self._move(ident, Phase.PUBLISHED)

    # ---- messages -----------------------------------------------------------------------------------------

    def untold(self, limit: int, now: float) -> list[Entry]:
        """Take up to `limit` requests of whose outcome somebody is to be told now; they stay for a minute."""
        due = (_requests.c.phase == Phase.PUBLISHED) & (_requests.c.not_before <= now)
        chosen = sa.select(_requests.c.seq).where(due).order_by(_requests.c.seq).limit(limit)
        taken = (
            _requests.update()
            .where(_requests.c.seq.in_(chosen.scalar_subquery()))
            .values(not_before=now + 60, tellings=_requests.c.tellings + 1)
            .returning(_requests)
        )
        with self._engine.begin() as db:
            return [_entry(row) for row in db.execute(taken)]

    def later(self, ident: str, not_before: float) -> None:
        """Tell again, not before a time."""
        with self._engine.begin() as db:
            db.execute(_update(Phase.PUBLISHED).where(_requests.c.id == ident).values(not_before=not_before))

    def told(self, ident: str) -> None:
        """Everybody knows, or nobody can be told."""
        self._move(ident, Phase.DONE)

    def resume_tellings(self) -> None:
        """Messages that the process before this one had begun are due now."""
        with self._engine.begin() as db:
            db.execute(_update(Phase.PUBLISHED).values(not_before=0.0))

    def announce(self, endpoint: str, digest: str) -> bool:
        """Whether an endpoint's settings are new; they are known from now on."""
        with self._engine.begin() as db:
            known = sa.select(_announced.c.digest).where(_announced.c.endpoint == endpoint)
            if db.scalar(known) == digest:
                return False
            db.execute(_announced.delete().where(_announced.c.endpoint == endpoint))
            db.execute(_announced.insert().values(endpoint=endpoint, digest=digest))
        return True

    # ---- looks --------------------------------------------------------------------------------------------

    def waiting(self) -> dict[str, Waiting]:
        """Endpoints that have not answered everything."""
        begun = sa.func.count(sa.case((_requests.c.phase == Phase.WORKING, 1)))
        columns = (_requests.c.endpoint, sa.func.count(), sa.func.min(_requests.c.received), begun)
        found = sa.select(*columns).where(_requests.c.phase.in_(_UNANSWERED)).group_by(_requests.c.endpoint)
        with self._engine.connect() as db:
            return {row[0]: Waiting(row[1], row[2], row[3]) for row in db.execute(found)}

    def forget(self, before: float) -> int:
        """Remove what was done before a time; returns how much."""
        with self._engine.begin() as db:
            old = (_requests.c.phase == Phase.DONE) & (_requests.c.ended < before)
            return int(db.execute(_requests.delete().where(old)).rowcount)

    # ---- inside -------------------------------------------------------------------------------------------

    def _take(self, which: sa.ColumnElement[bool], limit: int, counted: int) -> list[Entry]:
        queued = _requests.c.phase == Phase.QUEUED
        chosen = sa.select(_requests.c.seq).where(queued & which).order_by(_requests.c.seq).limit(limit)
        taken = (
            _requests.update()
            .where(_requests.c.seq.in_(chosen.scalar_subquery()))
            .values(phase=Phase.WORKING, attempts=_requests.c.attempts + counted)
            .returning(_requests)
        )
        with self._engine.begin() as db:
            rows = sorted(db.execute(taken), key=lambda row: row.seq)
        return [_entry(row) for row in rows]

    def _decide(self, ident: str, outcome: Outcome, phase: Phase) -> bool:
        values = {
            "phase": Phase.DECIDED,
            "body": b"",
            "completed": outcome.completed,
            "ended": outcome.at,
            "answer_type": outcome.content_type,
            "reason": outcome.reason,
            "answer": outcome.answer,
            "staged": outcome.staged,
        }
        with self._engine.begin() as db:
            done = db.execute(_update(phase).where(_requests.c.id == ident).values(values))
            return bool(done.rowcount)

    def _move(self, ident: str, phase: Phase) -> None:
        values = {"phase": phase, "not_before": 0.0}
        if phase is Phase.DONE:
            values["answer"] = None
        with self._engine.begin() as db:
            db.execute(_requests.update().where(_requests.c.id == ident).values(values))


def _prepare(connection: Any, _record: Any) -> None:
    """Durable against kill -9 and loss of power: write-ahead log, flushed at every commit."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _update(phase: Phase) -> sa.Update:
    return _requests.update().where(_requests.c.phase == phase)


def _accepted(row: Any) -> Accepted:
    values = {one.name: getattr(row, one.name) for one in fields(Accepted)}
    return Accepted(**{**values, "call": row.call or ""})


def _entry(row: Any) -> Entry:
    outcome = None
    if row.completed is not None:
        outcome = Outcome(row.completed, row.ended, row.answer_type, row.reason, row.answer, row.staged)
    return Entry(_accepted(row), row.attempts, row.tellings, outcome)
