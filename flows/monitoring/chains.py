"""Chains of counted windows, for the alarm over all of them, kept in Seaway's store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flows.monitoring.tables import CHAINS
from registry.tables import READ

if TYPE_CHECKING:
    from monitoring.drift.over_time import Chain


class Chains:
    """Chains by endpoint and by what they are held against. `History.create` makes the table."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def chain(self, endpoint: str, reference: str) -> Chain:
        """The chain as it stands; an empty one when nothing was counted."""
        return self._read(endpoint, reference)[1]

    def change(self, endpoint: str, reference: str, change: Callable[[Chain], Chain]) -> Chain:
        """Change a chain and keep it; repeated on the newer one when somebody else has changed it."""
        from monitoring.drift import over_time

        while True:
            before, chain = self._read(endpoint, reference)
            changed = change(chain)
            if self._replace(endpoint, reference, before, json.dumps(over_time.document(changed))):
                return changed

    def _read(self, endpoint: str, reference: str) -> tuple[str | None, Chain]:
        from monitoring.drift import over_time

        query = sa.select(CHAINS.c.data).where(*_of(endpoint, reference))
        with self._reading.connect() as db:
            text = db.scalar(query)
        return text, over_time.read(json.loads(text)) if text else over_time.Chain()

    def _replace(self, endpoint: str, reference: str, before: str | None, data: str) -> bool:
        try:
            with self._engine.begin() as db:
                if before is None:
                    db.execute(CHAINS.insert().values(endpoint=endpoint, reference=reference, data=data))
                    return True
                found = (*_of(endpoint, reference), CHAINS.c.data == before)
                return bool(db.execute(CHAINS.update().where(*found).values(data=data)).rowcount)
        except sa.exc.IntegrityError:
            return False


def _of(endpoint: str, reference: str) -> tuple[sa.ColumnElement[bool], ...]:
    return CHAINS.c.endpoint == endpoint, CHAINS.c.reference == reference
