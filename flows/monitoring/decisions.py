"""Every decision about retraining and about going back, those not to as well, kept in Seaway's store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from flows.monitoring.tables import DECISIONS
from registry.tables import READ

About = Literal["retrain", "guard"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision."""

    id: str
    """The same question has the same id, and is decided once."""
    endpoint: str
    at: datetime
    about: About
    acted: bool
    """Something was set going."""
    reason: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """The figures behind it."""


class Decisions:
    """What was decided. `History.create` makes the table."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def keep(self, decision: Decision) -> bool:
        """Write a decision down; False when the question was decided before."""
        row = {
            "id": decision.id,
            "endpoint": decision.endpoint,
            "at": decision.at.timestamp(),
            "kind": decision.about,
            "acted": decision.acted,
            "reason": decision.reason,
            "data": json.dumps(dict(decision.data)),
        }
        try:
            with self._engine.begin() as db:
                db.execute(DECISIONS.insert().values(**row))
        except sa.exc.IntegrityError:
            return False
        return True

    def known(self, decision: str) -> Decision | None:
        """A decision by its id."""
        with self._reading.connect() as db:
            row = db.execute(sa.select(DECISIONS).where(DECISIONS.c.id == decision)).first()
        return _decision(row) if row else None

    def latest(self, endpoint: str, about: About | None = None, last: int = 100) -> tuple[Decision, ...]:
        """What was decided for an endpoint, newest first."""
        query = sa.select(DECISIONS).where(DECISIONS.c.endpoint == endpoint)
        if about:
            query = query.where(DECISIONS.c.kind == about)
        with self._reading.connect() as db:
            rows = db.execute(query.order_by(DECISIONS.c.at.desc()).limit(last)).all()
        return tuple(_decision(row) for row in rows)


def _decision(row: Any) -> Decision:
    at = datetime.fromtimestamp(row.at, UTC)
    return Decision(row.id, row.endpoint, at, row.kind, row.acted, row.reason, json.loads(row.data))
