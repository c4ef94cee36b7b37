"""Who set the status tag, when and to what: written by the wrapper around MLflow, read by the reconciler."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from registry.entry import moment, stamp
from registry.tables import READ, gestures

if TYPE_CHECKING:
    from sqlalchemy import Engine

ANONYMOUS = "registry UI, unauthenticated"
"""The actor where MLflow asks nobody for a name."""


@dataclass(frozen=True, slots=True)
class Gesture:
    """One attempt to set the status tag of a version."""

    seq: int
    """Grows with every gesture."""
    at: datetime
    model: str
    version: str
    value: str
    """What the tag was set to; empty when it was removed."""
    actor: str
    authenticated: bool
    """MLflow checked the actor's password."""
    peer: str
    """Network address it came from."""
    confirmed: bool
    """MLflow accepted it; False while the request is under way."""


class Gestures:
    """The table of gestures."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(
        self,
        *,
        at: datetime,
        model: str,
        version: str,
        value: str,
        actor: str,
        authenticated: bool,
        peer: str,
    ) -> int:
        """Note a gesture before MLflow sees it, so that no reader can see the tag without the person."""
        with self._engine.begin() as connection:
            result = connection.execute(
                insert(gestures)
                .values(
                    at=stamp(at),
                    model=model,
                    version=version,
                    value=value,
                    actor=actor,
                    authenticated=authenticated,
                    peer=peer,
                    confirmed=False,
                )
                .returning(gestures.c.seq)
            )
            return int(result.scalar_one())

    def confirm(self, seq: int) -> None:
        """MLflow accepted it."""
        with self._engine.begin() as connection:
            connection.execute(update(gestures).where(gestures.c.seq == seq).values(confirmed=True))

    def drop(self, seq: int) -> None:
        """MLflow refused it: it never happened."""
        with self._engine.begin() as connection:
            connection.execute(delete(gestures).where(gestures.c.seq == seq))

    def list(self, model: str | None = None, version: str | None = None) -> list[Gesture]:
        """Gestures, oldest first; of one model or version when named."""
        query = select(gestures).order_by(gestures.c.seq)
        if model is not None:
            query = query.where(gestures.c.model == model)
        if version is not None:
            query = query.where(gestures.c.version == version)
        with self._engine.execution_options(**READ).connect() as connection:
            return [
                Gesture(**{**row._mapping, "at": moment(row.at)})  # noqa: SLF001  (SQLAlchemy's documented name)
                for row in connection.execute(query)
            ]

    def prune(self, before: datetime) -> int:
        """Forget all older gestures but the last one of each version; returns how many went."""
        last = select(func.max(gestures.c.seq)).group_by(gestures.c.model, gestures.c.version)
        with self._engine.begin() as connection:
            query = delete(gestures).where(gestures.c.at < stamp(before), gestures.c.seq.not_in(last))
            return connection.execute(query).rowcount
