"""Alerts as they stand, how they came to, and what is still to be done about them, kept in Seaway's store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from deploy.stored import text_of, value_of
from flows.monitoring.executions import Action, Alert
from flows.monitoring.tables import ACTIONS, ALERTS, CLAIMS, HISTORY
from registry.tables import READ

CLAIM = timedelta(minutes=10)
"""Who has claimed an action and has not told its outcome for so long is dead; no action takes as long."""


class Alerts:
    """Alerts and actions. `History.create` makes their tables."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def alert(self, endpoint: str, alarm: str) -> Alert | None:
        """How an alarm stands; None when nothing was ever told of it."""
        found = (ALERTS.c.endpoint == endpoint, ALERTS.c.alarm == alarm)
        with self._reading.connect() as db:
            text = db.scalar(sa.select(ALERTS.c.data).where(*found))
        return value_of(Alert, text) if text else None

    def alerts(self, endpoint: str = "") -> tuple[Alert, ...]:
        """How alarms stand, by endpoint and name."""
        query = sa.select(ALERTS.c.data).order_by(ALERTS.c.endpoint, ALERTS.c.alarm)
        if endpoint:
            query = query.where(ALERTS.c.endpoint == endpoint)
        with self._reading.connect() as db:
            return tuple(value_of(Alert, text) for text in db.scalars(query))

    def history(self, endpoint: str, last: int = 100) -> tuple[Alert, ...]:
        """How alarms changed, newest first."""
        query = sa.select(HISTORY.c.data).where(HISTORY.c.endpoint == endpoint)
        with self._reading.connect() as db:
            texts = db.scalars(query.order_by(HISTORY.c.id.desc()).limit(last))
            return tuple(value_of(Alert, text) for text in texts)

    def become(self, before: Alert | None, alert: Alert, actions: Iterable[Action] = ()) -> bool:
        """Keep a change, and what it asks for, in one transaction.

        Returns False, and keeps nothing, when somebody else has changed the alert since `before`.
        """
        values = {"status": alert.status.value, "data": text_of(alert)}
        try:
            with self._engine.begin() as db:
                if before is None:
                    db.execute(ALERTS.insert().values(endpoint=alert.endpoint, alarm=alert.alarm, **values))
                elif not self._replace(db, before, values):
                    return False
                db.execute(
                    HISTORY.insert().values(
                        endpoint=alert.endpoint,
                        alarm=alert.alarm,
                        at=alert.since.timestamp(),
                        data=values["data"],
                    )
                )
                for action in actions:
                    db.execute(ACTIONS.insert().values(**_row(action)))
        except sa.exc.IntegrityError:
            return False
        return True

    @staticmethod
    def _replace(db: sa.Connection, before: Alert, values: dict[str, str]) -> bool:
        known = (
            ALERTS.c.endpoint == before.endpoint,
            ALERTS.c.alarm == before.alarm,
            ALERTS.c.data == text_of(before),
        )
        return bool(db.execute(ALERTS.update().where(*known).values(**values)).rowcount)

    def pending(self, endpoint: str) -> tuple[Action, ...]:
        """Actions still to be done, oldest first."""
        query = sa.select(ACTIONS).where(ACTIONS.c.endpoint == endpoint, ACTIONS.c.outcome == "")
        return self._actions(query.order_by(ACTIONS.c.at, ACTIONS.c.id))

    def claim(self, action: Action, holder: str, now: datetime) -> int:
        """Claim an action before it is done; returns the number of the attempt, 0 when it is not to be done.

        That is so when it is done, or when somebody has claimed it who may still be doing it. A second
        attempt means that whoever made the first one died: nobody knows whether it was done.
        """
        with self._engine.begin() as db:
            if db.scalar(sa.select(ACTIONS.c.outcome).where(ACTIONS.c.id == action.id).with_for_update()):
                return 0
            claim = db.execute(sa.select(CLAIMS).where(CLAIMS.c.id == action.id)).first()
            if claim and now.timestamp() - claim.at < CLAIM.total_seconds():
                return 0
            attempt = claim.attempts + 1 if claim else 1
            values = {"holder": holder, "at": now.timestamp(), "attempts": attempt}
            if claim:
                db.execute(CLAIMS.update().where(CLAIMS.c.id == action.id).values(**values))
            else:
                db.execute(CLAIMS.insert().values(id=action.id, **values))
        return attempt

    def release(self, action: Action, holder: str) -> None:
        """Give up a claim: it is certain that nothing was done, and the next run may try at once."""
        mine = (CLAIMS.c.id == action.id, CLAIMS.c.holder == holder)
        with self._engine.begin() as db:
            db.execute(CLAIMS.update().where(*mine).values(at=0.0, attempts=CLAIMS.c.attempts - 1))

    def done(self, action: Action, outcome: str) -> None:
        """Note what came of an action; what was noted first stays."""
        undone = (ACTIONS.c.id == action.id, ACTIONS.c.outcome == "")
        with self._engine.begin() as db:
            db.execute(ACTIONS.update().where(*undone).values(outcome=outcome or "done"))

    def taken(self, endpoint: str, last: int = 100) -> tuple[Action, ...]:
        """The latest actions with their outcomes, newest first."""
        query = sa.select(ACTIONS).where(ACTIONS.c.endpoint == endpoint)
        return self._actions(query.order_by(ACTIONS.c.at.desc(), ACTIONS.c.id).limit(last))

    def _actions(self, query: sa.Select[tuple[object, ...]]) -> tuple[Action, ...]:
        with self._reading.connect() as db:
            rows = db.execute(query).all()
        return tuple(Action(row.id, value_of(Alert, row.data), row.name, row.outcome) for row in rows)


def _row(action: Action) -> dict[str, object]:
    return {
        "id": action.id,
        "endpoint": action.alert.endpoint,
        "at": action.alert.since.astimezone(UTC).timestamp(),
        "name": action.name,
        "outcome": action.outcome,
        "data": text_of(action.alert),
    }
