"""Leases on windows: a run renews its lease for as long as it lives, and only a dead run's is taken.

A run that sleeps longer than a lease finds, when it wakes up, that its window is somebody else's, and keeps
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flows.monitoring.tables import LEASES

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=10)
"""A run that has not renewed its lease for so long is dead, and its window is taken over."""
BEAT = timedelta(minutes=1)
"""How often a run renews the lease of the window that it looks at."""

Key = Mapping[str, Any]
"""Columns that name a window."""


def give(db: sa.Connection, key: Key, holder: str, now: datetime) -> None:
    """Make somebody the holder, whoever was before."""
    db.execute(LEASES.delete().where(_of(key)))
    db.execute(LEASES.insert().values(**key, holder=holder, beaten=now.timestamp()))


def held(db: sa.Connection, key: Key, holder: str, now: datetime, begun: datetime | None = None) -> bool:
    """Whether a living run other than `holder` looks at a window.

    Args:
        db: a transaction.
        key: of the window.
        holder: who asks.
        now: the present.
        begun: when the window was begun, for what was begun before there were leases.
    """
    row = db.execute(sa.select(LEASES).where(_of(key))).first()
    if row is None:
        return begun is not None and now - begun < LEASE
    alive = bool(now.timestamp() - row.beaten < LEASE.total_seconds())
    return alive and (not holder or row.holder != holder)


def renew(db: sa.Connection, key: Key, holder: str, now: datetime) -> bool:
    """Say that the holder lives; False when the window is somebody else's by now."""
    mine = LEASES.update().where(_of(key), LEASES.c.holder == holder)
    return bool(db.execute(mine.values(beaten=now.timestamp())).rowcount)


def leave(db: sa.Connection, key: Key, holder: str) -> None:
    """Let go, so that anybody may take the window at once."""
    db.execute(LEASES.update().where(_of(key), LEASES.c.holder == holder).values(beaten=0.0))


def end(db: sa.Connection, key: Key) -> None:
    """Forget the lease: the window has been looked at."""
    db.execute(LEASES.delete().where(_of(key)))


def _of(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(*(LEASES.c[name] == value for name, value in key.items()))


@contextmanager
def beating(renew: Callable[[], bool], every: timedelta) -> Iterator[None]:
    """Renew again and again while the block runs; a renewal that fails is tried again at the next beat.

    Args:
        renew: says that the run lives; False ends the beat.
        every: time between two.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every.total_seconds()):
            try:
                if not renew():
                    return
            except Exception:
                log.exception("a lease could not be renewed; trying again")

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
