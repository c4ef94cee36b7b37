"""The durable truth about endpoints and rollouts: one SQLAlchemy database, SQLite or PostgreSQL.

Flows and people write wishes here; the controller alone writes states. Whatever must not come apart is
written in one transaction: a process killed between any two lines loses nothing and counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from deploy.arrangements import arrangement_of, rearrange
from deploy.errors import RolloutRefused
from deploy.port import Counters, Fleet, Totals
from deploy.release import Release, Request
from deploy.removals import ask_removal, take_down
from deploy.rollout import begin
from deploy.scaling import Scale
from deploy.stored import Endpoint, Event, Rollout, endpoint_of, event_of, rollout_of, text_of, value_of
from deploy.tables import (
    ARRANGEMENTS,
    COUNTERS,
    ENDPOINTS,
    EVENTS,
    METADATA,
    RETIRING,
    ROLLOUTS,
    SAMPLES,
    SCALES,
)
from deploy.variants import Arrangement
from deploy.writer import Writer
from monitoring.alarms import Sample
from registry.tables import READ

ATTEMPTS = 20
"""Tries at a wish when others write at the same moment."""


class Store:
    """Endpoints, rollouts, samples and events."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def create(self) -> None:
        """Make the tables that do not exist yet."""
        METADATA.create_all(self._engine)

    # ---- wishes -------------------------------------------------------------------------------------------

    def ask(self, request: Request, now: datetime) -> Rollout:
        """Ask for a rollout. The same id again returns the first one, however far it has come.

        Raises:
            RolloutRefused: another rollout runs on the endpoint, or the release already serves it.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._ask(request, now)
            except sa.exc.IntegrityError:
                continue  # somebody else was faster: look again
        raise RolloutRefused(f"too many ask for endpoint {request.endpoint} at the same moment; try again")

    def _ask(self, request: Request, now: datetime) -> Rollout:
        with self._engine.begin() as db:
            if row := db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == request.id)).first():
                return rollout_of(row)
            self._refuse(db, request)
            rollout = Rollout(request, begin(now))
            self._insert(db, rollout)
            self._note(db, Event(now, request.endpoint, "asked", _summary(request), request.id))
        return rollout

    def _refuse(self, db: sa.Connection, request: Request) -> None:
        running = db.scalar(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.active == request.endpoint))
        if running:
            raise RolloutRefused(
                f"rollout {running} is still running on endpoint {request.endpoint}; wait for it, or end it "
                f"with: seaway rollout abort {request.endpoint}"
            )
        endpoint = endpoint_of(
            db.execute(
                sa.select(ENDPOINTS).where(ENDPOINTS.c.name == request.endpoint).with_for_update()
            ).first()
        )
        if endpoint and endpoint.removed:
            raise RolloutRefused(f"endpoint {request.endpoint} is being removed; ask again once it is gone")
        arranged = arrangement_of(db, request.endpoint).variants
        beside = [one.name for one in arranged if one.release.digest != request.release.digest]
        if beside and not request.restores:
            raise RolloutRefused(
                f"variant {', '.join(beside)} serves beside the stable one; remove it first: "
                f"seaway variants remove {request.endpoint} {beside[0]}"
            )
        stable = endpoint.stable if endpoint else None
        if stable and (stable.digest, stable.version) == (request.release.digest, request.release.version):
            raise RolloutRefused(f"endpoint {request.endpoint} already serves version {stable.version}")

    def _insert(self, db: sa.Connection, rollout: Rollout) -> None:
        request = rollout.request
        if not db.scalar(sa.select(ENDPOINTS.c.name).where(ENDPOINTS.c.name == request.endpoint)):
            db.execute(
                ENDPOINTS.insert().values(name=request.endpoint, champion=request.champion, removed=False)
            )
        db.execute(
            ENDPOINTS.update().where(ENDPOINTS.c.name == request.endpoint).values(champion=request.champion)
        )
        arrangement = arrangement_of(db, request.endpoint)
        if arrangement.sticky != request.sticky:
            Writer(db).arrange(request.endpoint, replace(arrangement, sticky=request.sticky))
        newest = db.scalar(sa.select(sa.func.max(ROLLOUTS.c.seq))) or 0
        db.execute(
            ROLLOUTS.insert().values(
                id=request.id,
                seq=newest + 1,
                endpoint=request.endpoint,
                active=request.endpoint,
                request=text_of(request),
                state=text_of(rollout.state),
                judged=text_of(rollout.case),
                abort="",
                announced=False,
            )
        )

    def abort(self, endpoint: str, reason: str) -> Rollout | None:
        """Ask for the end of the rollout that runs on an endpoint; None when none runs."""
        with self._engine.begin() as db:
            found = ROLLOUTS.c.active == endpoint
            db.execute(ROLLOUTS.update().where(found, ROLLOUTS.c.abort == "").values(abort=reason))
            row = db.execute(sa.select(ROLLOUTS).where(found)).first()
        return rollout_of(row) if row else None

    def remove(self, endpoint: str, reason: str, now: datetime, *, abort: bool = False) -> Endpoint:
        """Ask for an endpoint's removal: it answers nobody any more, and finishes what it has.

        Asking again changes nothing. Until the endpoint is gone, nothing new can be asked of it.

        Args:
            endpoint: its name.
            reason: who asked, and why; kept in the history.
            now: the time of the wish.
            abort: end the rollout that runs on it, too.

        Returns the endpoint as it was.

        Raises:
            RolloutRefused: there is no such endpoint, or a rollout runs on it and may not be ended.
        """
        with self._engine.begin() as db:
            return ask_removal(db, endpoint, reason, now, abort=abort)

    def take_down(self, endpoint: str, archives: Path, now: datetime) -> bool:
        """Forget an endpoint whose removal was asked for; its fleets then end; for the controller.

        Returns whether it was forgotten.
        """
        with self._engine.begin() as db:
            return take_down(db, endpoint, archives, now)

    def rearrange(
        self, endpoint: str, archives: Path, change: Callable[[Endpoint, Arrangement], Arrangement]
    ) -> Arrangement:
        """Change what serves beside the stable release, and stop what does not any more; all or nothing.

        Args:
            endpoint: its name.
            archives: packages by digest.
            change: makes the new arrangement of the endpoint and the one in force; may raise.

        Raises:
            RolloutRefused: the endpoint serves nothing, or a rollout runs on it.
        """
        with self._engine.begin() as db:
            return rearrange(db, endpoint, archives, change)

    # ---- what is there ------------------------------------------------------------------------------------

    def arrangement(self, endpoint: str) -> Arrangement:
        """What serves beside an endpoint's stable release."""
        with self._reading.connect() as db:
            return arrangement_of(db, endpoint)

    def scale(self, endpoint: str) -> Scale | None:
        """The number of instances that an endpoint with a scaling policy was last given; None before."""
        with self._reading.connect() as db:
            text = db.scalar(sa.select(SCALES.c.data).where(SCALES.c.endpoint == endpoint))
        return value_of(Scale, text) if text else None

    def instances(self, endpoint: Endpoint) -> int:
        """How many instances an endpoint's stable release is given now."""
        if endpoint.stable is None:
            return 0
        scale = self.scale(endpoint.name) if endpoint.stable.scaling else None
        return scale.instances if scale else endpoint.stable.instance_count

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint, by name."""
        with self._reading.connect() as db:
            rows = db.execute(sa.select(ENDPOINTS).order_by(ENDPOINTS.c.name)).all()
        return tuple(found for row in rows if (found := endpoint_of(row)))

    def endpoint(self, name: str) -> Endpoint | None:
        """One endpoint, or None."""
        with self._reading.connect() as db:
            return endpoint_of(db.execute(sa.select(ENDPOINTS).where(ENDPOINTS.c.name == name)).first())

    def active(self, endpoint: str) -> Rollout | None:
        """The rollout that runs on an endpoint, or None."""
        with self._reading.connect() as db:
            row = db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.active == endpoint)).first()
        return rollout_of(row) if row else None

    def rollout(self, rollout_id: str) -> Rollout | None:
        """One rollout by id, or None."""
        with self._reading.connect() as db:
            row = db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == rollout_id)).first()
        return rollout_of(row) if row else None

    def rollouts(self, endpoint: str | None = None, last: int = 50) -> tuple[Rollout, ...]:
        """The latest rollouts, newest first."""
        query = sa.select(ROLLOUTS).order_by(ROLLOUTS.c.seq.desc()).limit(last)
        if endpoint:
            query = query.where(ROLLOUTS.c.endpoint == endpoint)
        with self._reading.connect() as db:
            return tuple(rollout_of(row) for row in db.execute(query))

    def unannounced(self) -> tuple[Rollout, ...]:
        """Rollouts that ended and of which the registry does not know yet, oldest first."""
        query = sa.select(ROLLOUTS).where(ROLLOUTS.c.active.is_(None), sa.not_(ROLLOUTS.c.announced))
        with self._reading.connect() as db:
            return tuple(rollout_of(row) for row in db.execute(query.order_by(ROLLOUTS.c.seq)))

    def retiring(self) -> tuple[Fleet, ...]:
        """Fleets that nobody wants any more and that still have to be stopped."""
        with self._reading.connect() as db:
            return tuple(value_of(Fleet, text) for text in db.scalars(sa.select(RETIRING.c.data)))

    def packages(self) -> frozenset[str]:
        """Digests of all packages that an endpoint, a running rollout or a fleet still to be stopped uses."""
        releases = sa.union_all(sa.select(ENDPOINTS.c.stable), sa.select(ENDPOINTS.c.previous))
        running = sa.select(ROLLOUTS.c.request).where(ROLLOUTS.c.active.is_not(None))
        with self._reading.connect() as db:
            served = {value_of(Release, text).digest for text in db.scalars(releases) if text}
            asked = {value_of(Request, text).release.digest for text in db.scalars(running)}
            ending = {value_of(Fleet, text).digest for text in db.scalars(sa.select(RETIRING.c.data))}
            arranged = [value_of(Arrangement, text) for text in db.scalars(sa.select(ARRANGEMENTS.c.data))]
        beside = {variant.release.digest for one in arranged for variant in one.variants}
        return frozenset(served | asked | ending | beside)

    def samples(self, fleet: str, since: datetime) -> tuple[Sample, ...]:
        """What a fleet answered since a moment, oldest first."""
        query = sa.select(SAMPLES.c.data).where(SAMPLES.c.fleet == fleet, SAMPLES.c.at > since.timestamp())
        with self._reading.connect() as db:
            return tuple(value_of(Sample, text) for text in db.scalars(query.order_by(SAMPLES.c.at)))

    def counters(self, fleet: str) -> Totals:
        """The totals at the last look, of every gateway that ever answered."""
        with self._reading.connect() as db:
            text = db.scalar(sa.select(COUNTERS.c.data).where(COUNTERS.c.fleet == fleet))
        return value_of(dict[str, Counters], text) if text else {}

    def events(
        self, endpoint: str | None = None, rollout: str | None = None, last: int = 500
    ) -> tuple[Event, ...]:
        """History, oldest first."""
        query = sa.select(EVENTS).order_by(EVENTS.c.id.desc()).limit(last)
        if endpoint:
            query = query.where(EVENTS.c.endpoint == endpoint)
        if rollout:
            query = query.where(EVENTS.c.rollout == rollout)
        with self._reading.connect() as db:
            rows = db.execute(query).all()
        return tuple(event_of(row) for row in reversed(rows))

    # ---- what the controller alone writes -----------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction of the controller."""
        with self._engine.begin() as db:
            yield Writer(db)

    def note(self, event: Event) -> None:
        """Add a line to the history."""
        with self._engine.begin() as db:
            self._note(db, event)

    @staticmethod
    def _note(db: sa.Connection, event: Event) -> None:
        Writer(db).note(event)


def _summary(request: Request) -> dict[str, Any]:
    return {
        "model": request.release.model,
        "version": request.release.version,
        "digest": request.release.digest,
        "by": request.requested_by,
        "steps": [[step.weight, step.mirror, step.bake.total_seconds()] for step in request.plan.steps],
    }
