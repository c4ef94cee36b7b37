"""What was watched, executed and measured, kept in Seaway's store: SQLite or PostgreSQL.

An execution and its figures are written in one transaction. Figures are never overwritten: a window that is
looked at again, because labels came late, leaves a new version of them, and the old ones stay behind it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from deploy.stored import text_of, value_of
from flows.monitoring import leases
from flows.monitoring.executions import Datapoint, Execution, Status, Watch
from flows.monitoring.tables import EXECUTIONS, FIGURES, METADATA, WATCHES
from flows.monitoring.windows import ON_DEMAND, Window
from monitoring.findings import Figure
from registry.tables import READ

JUDGED = (Status.COMPLETED.value, Status.VIOLATED.value)
OPEN = (Status.PENDING.value, Status.IN_PROGRESS.value)


class History:
    """Schedules, executions and figures."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def create(self) -> None:
        """Make the tables that do not exist yet."""
        METADATA.create_all(self._engine)

    # ---- what is watched ----------------------------------------------------------------------------------

    def watch(self, watch: Watch) -> None:
        """Note that an endpoint is watched, or how that changed."""
        values = {
            "status": watch.status,
            "since": watch.since.timestamp(),
            "settings": watch.settings,
            "effective": watch.effective,
            "reason": watch.reason,
        }
        with self._engine.begin() as db:
            found = WATCHES.c.endpoint == watch.endpoint
            if not db.execute(WATCHES.update().where(found).values(**values)).rowcount:
                db.execute(WATCHES.insert().values(endpoint=watch.endpoint, **values))

    def watched(self, endpoint: str) -> Watch | None:
        """How an endpoint is watched; None when nobody ever did."""
        return next((one for one in self.watches() if one.endpoint == endpoint), None)

    def watches(self) -> tuple[Watch, ...]:
        """Every endpoint that is watched, or was, by name."""
        with self._reading.connect() as db:
            rows = db.execute(sa.select(WATCHES).order_by(WATCHES.c.endpoint)).all()
        return tuple(
            Watch(row.endpoint, row.status, _moment(row.since), row.settings, row.effective, row.reason)
            for row in rows
        )

    # ---- executions ---------------------------------------------------------------------------------------

    def claim(self, wanted: Execution, now: datetime) -> Execution | None:
        """Begin an execution; None when its window was looked at, or a living run is looking at it now.

        One that the same flow run began, or whose lease nobody renews any more, is taken over, or ended if
        somebody wanted it to stop.
        """
        started = replace(wanted, status=Status.IN_PROGRESS, created=now, modified=now)
        try:
            with self._engine.begin() as db:
                db.execute(EXECUTIONS.insert().values(**_key(started), **_values(started)))
                leases.give(db, _key(started), started.holder, now)
        except sa.exc.IntegrityError:
            return self._take_over(started, now)
        return started

    def _take_over(self, started: Execution, now: datetime) -> Execution | None:
        key = _key(started)
        with self._engine.begin() as db:
            known = _locked(db, started)
            same_run = bool(started.flow_run) and known.flow_run == started.flow_run
            alive = not same_run and leases.held(db, key, started.holder, now, known.modified)
            if known.status.final or alive:
                return None
            stopping = known.status is Status.STOPPING
            status = Status.STOPPED if stopping else Status.IN_PROGRESS
            taken = replace(started, created=known.created, revision=known.revision, status=status)
            db.execute(EXECUTIONS.update().where(_of(started)).values(**_values(taken)))
            if stopping:
                leases.end(db, key)
                return None
            leases.give(db, key, started.holder, now)
        return taken

    def reopen(self, wanted: Execution, now: datetime) -> Execution | None:
        """Begin to look again at a window that was looked at; None while a living run does, or has since.

        Args:
            wanted: the execution as it is known, with the holder that asks.
            now: the present.
        """
        key = _key(wanted)
        with self._engine.begin() as db:
            known = _locked(db, wanted)
            if known.revision != wanted.revision or leases.held(db, key, wanted.holder, now):
                return None
            values = _values(replace(known, holder=wanted.holder))
            db.execute(EXECUTIONS.update().where(_of(wanted)).values(**values))
            leases.give(db, key, wanted.holder, now)
        return wanted

    def renew(self, execution: Execution, now: datetime) -> bool:
        """Renew the lease of what is looked at; False when it is somebody else's by now."""
        with self._engine.begin() as db:
            return leases.renew(db, _key(execution), execution.holder, now)

    def leave(self, execution: Execution) -> None:
        """Give up what is looked at, if it has not ended: the next run may begin it at once."""
        with self._engine.begin() as db:
            leases.leave(db, _key(execution), execution.holder)

    def finish(self, ended: Execution, figures: Iterable[Figure] = ()) -> Execution | None:
        """Keep the end of an execution and its figures, in the place of those of an earlier look.

        Returns the execution with its revision; None, and keeps nothing, when somebody else holds it by now.
        """
        with self._engine.begin() as db:
            known = _locked(db, ended)
            if known.holder != ended.holder:
                return None
            kept = replace(ended, revision=known.revision + 1)
            db.execute(EXECUTIONS.update().where(_of(ended)).values(**_values(kept)))
            db.execute(FIGURES.update().where(_of(ended, FIGURES)).values(current=False))
            rows = [_figure_row(kept, figure) for figure in figures]
            if rows:
                db.execute(FIGURES.insert(), rows)
            leases.end(db, _key(ended))
        return kept

    def execution(self, endpoint: str, schedule: str, scheduled: datetime) -> Execution | None:
        """One execution, or None."""
        at = scheduled.timestamp()
        found = sa.select(EXECUTIONS).where(
            EXECUTIONS.c.endpoint == endpoint, EXECUTIONS.c.schedule == schedule, EXECUTIONS.c.scheduled == at
        )
        with self._reading.connect() as db:
            row = db.execute(found).first()
        return _execution(row) if row else None

    def executions(
        self,
        endpoint: str = "",
        schedule: str = "",
        *,
        judged: bool = False,
        since: datetime | None = None,
        last: int | None = 50,
    ) -> tuple[Execution, ...]:
        """The latest executions, newest first, all without `last`; `judged`: only those that judged rows."""
        query = sa.select(EXECUTIONS).order_by(EXECUTIONS.c.scheduled.desc(), EXECUTIONS.c.id.desc())
        if endpoint:
            query = query.where(EXECUTIONS.c.endpoint == endpoint)
        if schedule:
            query = query.where(EXECUTIONS.c.schedule == schedule)
        if judged:
            query = query.where(EXECUTIONS.c.status.in_(JUDGED), EXECUTIONS.c.rows > 0)
        if since:
            query = query.where(EXECUTIONS.c.scheduled >= since.timestamp())
        with self._reading.connect() as db:
            return tuple(_execution(row) for row in db.execute(query.limit(last)))

    def stop(self, endpoint: str, now: datetime) -> int:
        """Ask the executions of an endpoint that are under way to stop; returns how many."""
        running = (EXECUTIONS.c.endpoint == endpoint, EXECUTIONS.c.status.in_(OPEN))
        with self._engine.begin() as db:
            rows = db.execute(sa.select(EXECUTIONS).where(*running)).all()
            for row in rows:
                stopping = replace(_execution(row), status=Status.STOPPING, modified=now)
                db.execute(
                    EXECUTIONS.update()
                    .where(EXECUTIONS.c.id == row.id, EXECUTIONS.c.modified == row.modified)
                    .values(**_values(stopping))
                )
        return len(rows)

    # ---- figures ------------------------------------------------------------------------------------------

    def figures(
        self,
        endpoint: str,
        name: str = "",
        schedule: str = "",
        *,
        since: datetime | None = None,
        every_version: bool = False,
        last: int = 1000,
    ) -> tuple[Datapoint, ...]:
        """Figures over time, newest scheduled first.

        Args:
            endpoint: whose.
            name: only this figure.
            schedule: only of this schedule.
            since: only of executions scheduled from then on.
            every_version: also those that were replaced when labels came late.
            last: how many at most.
        """
        query = sa.select(FIGURES).where(FIGURES.c.endpoint == endpoint)
        if name:
            query = query.where(FIGURES.c.name == name)
        if schedule:
            query = query.where(FIGURES.c.schedule == schedule)
        if since:
            query = query.where(FIGURES.c.scheduled >= since.timestamp())
        if not every_version:
            query = query.where(FIGURES.c.current)
        order = (FIGURES.c.scheduled.desc(), FIGURES.c.version.desc(), FIGURES.c.id)
        with self._reading.connect() as db:
            return tuple(_datapoint(row) for row in db.execute(query.order_by(*order).limit(last)))

    def latest(self, *, judged: bool = False) -> tuple[Execution, ...]:
        """The latest execution of every recurring schedule; `judged` passes over those without a verdict."""
        query = sa.select(
            EXECUTIONS.c.endpoint, EXECUTIONS.c.schedule, sa.func.max(EXECUTIONS.c.scheduled)
        ).where(EXECUTIONS.c.schedule.not_like(f"{ON_DEMAND}%"))
        if judged:
            query = query.where(EXECUTIONS.c.status.in_(JUDGED))
        of = (EXECUTIONS.c.endpoint, EXECUTIONS.c.schedule)
        with self._reading.connect() as db:
            keys = db.execute(query.group_by(*of).order_by(*of)).all()
        found = (self.execution(endpoint, schedule, _moment(at)) for endpoint, schedule, at in keys)
        return tuple(one for one in found if one)

    def newest(self) -> tuple[tuple[Execution, tuple[Datapoint, ...]], ...]:
        """The latest execution of every recurring schedule that has a verdict, with its figures."""
        return tuple((one, self.measured(one)) for one in self.latest(judged=True))

    def measured(self, execution: Execution) -> tuple[Datapoint, ...]:
        """The present figures of an execution, in the order in which they were computed."""
        query = sa.select(FIGURES).where(_of(execution, FIGURES), FIGURES.c.current)
        with self._reading.connect() as db:
            return tuple(_datapoint(row) for row in db.execute(query.order_by(FIGURES.c.id)))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _locked(db: sa.Connection, execution: Execution) -> Execution:
    """The execution as it is kept, which nobody else may change before the transaction ends."""
    return _execution(db.execute(sa.select(EXECUTIONS).where(_of(execution)).with_for_update()).one())


def _of(execution: Execution, table: sa.Table = EXECUTIONS) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == value for name, value in _key(execution).items()))


def _key(execution: Execution) -> dict[str, Any]:
    endpoint, schedule, scheduled = execution.key
    return {"endpoint": endpoint, "schedule": schedule, "scheduled": scheduled.timestamp()}


def _values(execution: Execution) -> dict[str, Any]:
    return {
        "kind": execution.kind,
        "status": execution.status.value,
        "created": execution.created.timestamp(),
        "modified": execution.modified.timestamp(),
        "revision": execution.revision,
        "rows": execution.rows,
        "data": text_of(execution),
    }


def _execution(row: Any) -> Execution:
    return value_of(Execution, row.data)


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _figure_row(execution: Execution, figure: Figure) -> dict[str, Any]:
    return {
        **_key(execution),
        "kind": execution.kind,
        "begun": execution.window.start.timestamp(),
        "ended": execution.window.end.timestamp(),
        "variant": execution.variant,
        "name": figure.name[:256],
        "dimensions": json.dumps(figure.dimensions),
        "value": _number(figure.value),
        "low": _number(figure.low),
        "high": _number(figure.high),
        "n": int(figure.n),
        "estimated": figure.estimated,
        "version": execution.revision,
        "current": True,
    }


def _datapoint(row: Any) -> Datapoint:
    dimensions = tuple((name, value) for name, value in json.loads(row.dimensions))
    figure = Figure(row.name, row.value, row.low, row.high, row.n, row.estimated, dimensions)
    window = Window(_moment(row.scheduled), _moment(row.begun), _moment(row.ended))
    return Datapoint(row.endpoint, row.schedule, row.kind, window, figure, row.variant, row.version)
