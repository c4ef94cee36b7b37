"""The approvals ledger: append-only, chained by hash, shared by all processes of an installation."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from registry.entry import GENESIS, Entry, Kind, canonical, digest, moment, seal, stamp
from registry.errors import Conflict, LedgerDamaged, Unreachable
from registry.tables import READ, ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, Row

_PAGE = 1000
_ATTEMPTS = 100
"""Writers meet rarely and briefly; this many collisions in a row mean something is wrong."""


class Ledger:
    """All acts on model versions, in the order in which they were taken."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, entry: Entry, after: int | None = None) -> Entry:
        """Write an act at the end of the chain and return it with its place and hash.

        An entry whose id is already there is returned as it stands: repeating an append changes nothing.
        With `after`, the last entry of the same model and version must be the one at that place (0: none).

        Raises:
            registry.errors.Conflict: somebody else appended for this version since it was read.
            registry.errors.Unreachable: the database stayed busy.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with self._engine.begin() as connection:
                    return _append(connection, entry, after)
            except (IntegrityError, OperationalError) as error:
                if not _worth_retrying(error):
                    raise
                time.sleep(random.uniform(0, min(0.05, 0.002 * (attempt + 1))))  # noqa: S311
        raise Unreachable("the ledger stayed busy; look for a process that holds the store locked")

    def entries(self, model: str | None = None, version: str | None = None, since: int = 0) -> list[Entry]:
        """Acts after place `since`, oldest first; of one model or one version when named."""
        query = select(ledger).where(ledger.c.seq > since).order_by(ledger.c.seq)
        if model is not None:
            query = query.where(ledger.c.model == model)
        if version is not None:
            query = query.where(ledger.c.version == version)
        with self._engine.execution_options(**READ).connect() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def verify(self, head: str | None = None) -> int:
        """Recompute the whole chain and return the number of entries.

        Args:
            head: a hash noted elsewhere that must occur in the chain; finds a cut-off end.

        Raises:
            registry.errors.LedgerDamaged: names the first row that does not hold.
        """
        previous, place, seen = GENESIS, 0, head is None
        with self._engine.execution_options(**READ).connect() as connection:
            for row in _rows(connection):
                place += 1
                previous = _checked(row, place, previous)
                seen = seen or previous == head
        if not seen:
            raise LedgerDamaged(
                f"the ledger ends at entry {place} without the noted entry {head}: its end was cut off"
            )
        return place


def _append(connection: Connection, entry: Entry, after: int | None) -> Entry:
    if row := connection.execute(select(ledger).where(ledger.c.id == entry.id)).first():
        return _entry(row)
    last = connection.execute(
        select(ledger.c.seq, ledger.c.hash).order_by(ledger.c.seq.desc()).limit(1)
    ).first()
    seq, previous = (last.seq, last.hash) if last else (0, GENESIS)
    if after is not None and (found := _last_of(connection, entry)) != after:
        raise Conflict(
            f"{entry.model} version {entry.version} was decided on in this moment "
            f"(entry {found}, expected {after}); look at it again"
        )
    sealed = seal(entry, seq + 1, previous)
    connection.execute(insert(ledger).values(_values(sealed)))
    return sealed


def _last_of(connection: Connection, entry: Entry) -> int:
    query = select(func.max(ledger.c.seq)).where(
        ledger.c.model == entry.model, ledger.c.version == entry.version
    )
    return connection.execute(query).scalar() or 0


def _worth_retrying(error: DBAPIError) -> bool:
    """A collision on the next place or id, or a lock; not a missing table."""
    if isinstance(error, IntegrityError):
        return True
    message = str(error.orig).lower()
    return "locked" in message or "busy" in message or "could not serialize" in message


def _values(entry: Entry) -> dict[str, Any]:
    names = [column.name for column in ledger.columns]
    values = {name: getattr(entry, name) for name in names}
    return values | {
        "at": stamp(entry.at),
        "kind": str(entry.kind),
        "details": canonical(dict(entry.details)),
    }


def _entry(row: Row[Any]) -> Entry:
    values = dict(row._mapping)  # noqa: SLF001  (SQLAlchemy's documented name)
    values.pop("policy_hash")
    return Entry(
        **values | {"at": moment(row.at), "kind": Kind(row.kind), "details": json.loads(row.details)}
    )


def _rows(connection: Connection) -> Iterator[Row[Any]]:
    """All rows in order, a thousand at a time."""
    place = 0
    while True:
        query = select(ledger).where(ledger.c.seq > place).order_by(ledger.c.seq).limit(_PAGE)
        page = connection.execute(query).all()
        yield from page
        if len(page) < _PAGE:
            return
        place = page[-1].seq


def _checked(row: Row[Any], place: int, previous: str) -> str:
    """The row's hash, when everything about it holds."""
    if row.seq != place:
        raise LedgerDamaged(f"ledger entry {place} is missing (the next one is {row.seq})")
    try:
        entry = _entry(row)
        holds = digest(entry) == row.hash and entry.policy_hash == row.policy_hash
    except ValueError:
        holds = False
    if not holds:
        raise LedgerDamaged(f"ledger entry {place} ({row.id}) was changed: its hash does not fit its content")
    if row.previous != previous:
        raise LedgerDamaged(f"ledger entry {place} ({row.id}) does not follow the entry before it")
    return str(row.hash)
