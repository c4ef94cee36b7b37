"""Webhook deliveries already seen: a second one with the same id is a replay."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from registry.entry import stamp
from registry.tables import deliveries

if TYPE_CHECKING:
    from sqlalchemy import Engine


class Deliveries:
    """The table of delivery ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first(self, delivery: str, at: datetime) -> bool:
        """Whether this delivery id was never seen before; remembers it."""
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(deliveries).values(id=delivery[:64], at=stamp(at)))
        except IntegrityError:
            return False
        return True

    def prune(self, before: datetime) -> int:
        """Forget older ids (their timestamps are refused anyway); returns how many went."""
        with self._engine.begin() as connection:
            query = delete(deliveries).where(deliveries.c.at < stamp(before))
            return connection.execute(query).rowcount
