"""The durable truth about endpoints and rollouts: one SQLAlchemy database, SQLite or PostgreSQL.

Flows and people write wishes here; the controller alone writes states. Whatever must not come apart is
written in one transaction: a process killed between any two lines loses nothing and counts nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from pydantic import TypeAdapter

from deploy.errors import RolloutRefused
from deploy.judge import Case, Opinion
from deploy.port import Counters, Fleet, Totals
from deploy.release import Release, Request
from deploy.rollout import Phase, State, begin
from deploy.variants import Arrangement
from monitoring.alarms import Sample
from registry.tables import READ

T = TypeVar("T")
ATTEMPTS = 20
"""Tries at a wish when others write at the same moment."""

_metadata = sa.MetaData()
_endpoints = sa.Table(
    "endpoints",
    _metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("stable", sa.Text),
    sa.Column("previous", sa.Text),
    sa.Column("champion", sa.Boolean, nullable=False, default=False),
    sa.Column("removed", sa.Boolean, nullable=False, default=False),
)
_rollouts = sa.Table(
    "rollouts",
    _metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False, unique=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("active", sa.String(63), unique=True),  # the endpoint while it runs: never two on one
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("judged", sa.Text, nullable=False),
    sa.Column("opinion", sa.Text),
    sa.Column("abort", sa.Text, nullable=False, default=""),
    sa.Column("announced", sa.Boolean, nullable=False, default=False),
)
_arrangements = sa.Table(
    "arrangements",
    _metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
_retiring = sa.Table(
    "retiring_fleets",
    _metadata,
    sa.Column("fleet", sa.String(200), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
_counters = sa.Table(
    "counters",
    _metadata,
    sa.Column("fleet", sa.String(200), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
_samples = sa.Table(
    "samples",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("fleet", sa.String(200), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("data", sa.Text, nullable=False),
)
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("rollout", sa.String(200), index=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an endpoint serves."""

    name: str
    stable: Release | None = None
    previous: Release | None = None
    champion: bool = False
    """It is some model's production."""
    removed: bool = False
    """Somebody asked for its removal; the controller takes it down."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A request and how far it has come."""

    request: Request
    state: State
    case: Case = field(default_factory=Case)
    opinion: Opinion | None = None
    abort: str = ""
    announced: bool = False
    """The registry and the people concerned know how it ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of an endpoint's history."""

    at: datetime
    endpoint: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    rollout: str | None = None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _text(value: Any, kind: Any = None) -> str:
    return json.dumps(_adapter(kind or cast("Any", type(value))).dump_python(value, mode="json"))


def _value(kind: type[T], text: str) -> T:
    value: T = _adapter(cast("Any", kind)).validate_python(json.loads(text), strict=False)
    return value


class Store:
    """Endpoints, rollouts, samples and events."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READ)

    def create(self) -> None:
        """Make the tables that do not exist yet."""
        _metadata.create_all(self._engine)

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
            if row := db.execute(sa.select(_rollouts).where(_rollouts.c.id == request.id)).first():
                return _rollout(row)
            self._refuse(db, request)
            rollout = Rollout(request, begin(now))
            self._insert(db, rollout)
            self._note(db, Event(now, request.endpoint, "asked", _summary(request), request.id))
        return rollout

    def _refuse(self, db: sa.Connection, request: Request) -> None:
        running = db.scalar(sa.select(_rollouts.c.id).where(_rollouts.c.active == request.endpoint))
        if running:
            raise RolloutRefused(
                f"rollout {running} is still running on endpoint {request.endpoint}; wait for it, or end it "
                f"with: seaway rollout abort {request.endpoint}"
            )
        endpoint = _endpoint(
            db.execute(sa.select(_endpoints).where(_endpoints.c.name == request.endpoint)).first()
        )
        arranged = _arrangement(db, request.endpoint).variants
        beside = [one.name for one in arranged if one.release.digest != request.release.digest]
        if beside and not request.restores:
            raise RolloutRefused(
                f"variant {', '.join(beside)} serves beside the stable one; remove it first: "
                f"seaway variants remove {request.endpoint} {beside[0]}"
            )
        stable = endpoint.stable if endpoint and not endpoint.removed else None
        if stable and (stable.digest, stable.version) == (request.release.digest, request.release.version):
            raise RolloutRefused(f"endpoint {request.endpoint} already serves version {stable.version}")

    def _insert(self, db: sa.Connection, rollout: Rollout) -> None:
        request = rollout.request
        if not db.scalar(sa.select(_endpoints.c.name).where(_endpoints.c.name == request.endpoint)):
            db.execute(
                _endpoints.insert().values(name=request.endpoint, champion=request.champion, removed=False)
            )
        db.execute(
            _endpoints.update()
            .where(_endpoints.c.name == request.endpoint)
            .values(champion=request.champion, removed=False)
        )
        arrangement = _arrangement(db, request.endpoint)
        if arrangement.sticky != request.sticky:
            Writer(db).arrange(request.endpoint, replace(arrangement, sticky=request.sticky))
        newest = db.scalar(sa.select(sa.func.max(_rollouts.c.seq))) or 0
        db.execute(
            _rollouts.insert().values(
                id=request.id,
                seq=newest + 1,
                endpoint=request.endpoint,
                active=request.endpoint,
                request=_text(request),
                state=_text(rollout.state),
                judged=_text(rollout.case),
                abort="",
                announced=False,
            )
        )

    def abort(self, endpoint: str, reason: str) -> Rollout | None:
        """Ask for the end of the rollout that runs on an endpoint; None when none runs."""
        with self._engine.begin() as db:
            found = _rollouts.c.active == endpoint
            db.execute(_rollouts.update().where(found, _rollouts.c.abort == "").values(abort=reason))
            row = db.execute(sa.select(_rollouts).where(found)).first()
        return _rollout(row) if row else None

    def remove(self, endpoint: str) -> None:
        """Ask for an endpoint's removal.

        Raises:
            RolloutRefused: a rollout runs on it.
        """
        with self._engine.begin() as db:
            if db.scalar(sa.select(_rollouts.c.id).where(_rollouts.c.active == endpoint)):
                raise RolloutRefused(f"a rollout runs on endpoint {endpoint}; abort it first")
            db.execute(_endpoints.update().where(_endpoints.c.name == endpoint).values(removed=True))

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
            row = db.execute(sa.select(_endpoints).where(_endpoints.c.name == endpoint).with_for_update())
            found = _endpoint(row.first())
            if found is None or found.removed or found.stable is None:
                raise RolloutRefused(f"endpoint {endpoint} serves nothing yet; deploy a version to it first")
            if running := db.scalar(sa.select(_rollouts.c.id).where(_rollouts.c.active == endpoint)):
                raise RolloutRefused(f"rollout {running} is running on endpoint {endpoint}; wait for its end")
            before = _arrangement(db, endpoint)
            arrangement = change(found, before)
            writer, stable = Writer(db), found.stable.fleet(endpoint, archives)
            writer.arrange(endpoint, arrangement)
            wanted = {one.release.fleet(endpoint, archives).id for one in arrangement.variants} | {stable.id}
            for fleet in (one.release.fleet(endpoint, archives) for one in before.variants):
                if fleet.id not in wanted:
                    writer.retire(fleet)
            for name in wanted:
                writer.keep(name)
        return arrangement

    # ---- what is there ------------------------------------------------------------------------------------

    def arrangement(self, endpoint: str) -> Arrangement:
        """What serves beside an endpoint's stable release."""
        with self._reading.connect() as db:
            return _arrangement(db, endpoint)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint, by name."""
        with self._reading.connect() as db:
            rows = db.execute(sa.select(_endpoints).order_by(_endpoints.c.name)).all()
        return tuple(found for row in rows if (found := _endpoint(row)))

    def endpoint(self, name: str) -> Endpoint | None:
        """One endpoint, or None."""
        with self._reading.connect() as db:
            return _endpoint(db.execute(sa.select(_endpoints).where(_endpoints.c.name == name)).first())

    def active(self, endpoint: str) -> Rollout | None:
        """The rollout that runs on an endpoint, or None."""
        with self._reading.connect() as db:
            row = db.execute(sa.select(_rollouts).where(_rollouts.c.active == endpoint)).first()
        return _rollout(row) if row else None

    def rollout(self, rollout_id: str) -> Rollout | None:
        """One rollout by id, or None."""
        with self._reading.connect() as db:
            row = db.execute(sa.select(_rollouts).where(_rollouts.c.id == rollout_id)).first()
        return _rollout(row) if row else None

    def rollouts(self, endpoint: str | None = None, last: int = 50) -> tuple[Rollout, ...]:
        """The latest rollouts, newest first."""
        query = sa.select(_rollouts).order_by(_rollouts.c.seq.desc()).limit(last)
        if endpoint:
            query = query.where(_rollouts.c.endpoint == endpoint)
        with self._reading.connect() as db:
            return tuple(_rollout(row) for row in db.execute(query))

    def unannounced(self) -> tuple[Rollout, ...]:
        """Rollouts that ended and of which the registry does not know yet, oldest first."""
        query = sa.select(_rollouts).where(_rollouts.c.active.is_(None), sa.not_(_rollouts.c.announced))
        with self._reading.connect() as db:
            return tuple(_rollout(row) for row in db.execute(query.order_by(_rollouts.c.seq)))

    def retiring(self) -> tuple[Fleet, ...]:
        """Fleets that nobody wants any more and that still have to be stopped."""
        with self._reading.connect() as db:
            return tuple(_value(Fleet, text) for text in db.scalars(sa.select(_retiring.c.data)))

    def packages(self) -> frozenset[str]:
        """Digests of all packages that an endpoint, a running rollout or a fleet still to be stopped uses."""
        releases = sa.union_all(sa.select(_endpoints.c.stable), sa.select(_endpoints.c.previous))
        running = sa.select(_rollouts.c.request).where(_rollouts.c.active.is_not(None))
        with self._reading.connect() as db:
            served = {_value(Release, text).digest for text in db.scalars(releases) if text}
            asked = {_value(Request, text).release.digest for text in db.scalars(running)}
            ending = {_value(Fleet, text).digest for text in db.scalars(sa.select(_retiring.c.data))}
            arranged = [_value(Arrangement, text) for text in db.scalars(sa.select(_arrangements.c.data))]
        beside = {variant.release.digest for one in arranged for variant in one.variants}
        return frozenset(served | asked | ending | beside)

    def samples(self, fleet: str, since: datetime) -> tuple[Sample, ...]:
        """What a fleet answered since a moment, oldest first."""
        query = sa.select(_samples.c.data).where(_samples.c.fleet == fleet, _samples.c.at > since.timestamp())
        with self._reading.connect() as db:
            return tuple(_value(Sample, text) for text in db.scalars(query.order_by(_samples.c.at)))

    def counters(self, fleet: str) -> Totals:
        """The totals at the last look, of every gateway that ever answered."""
        with self._reading.connect() as db:
            text = db.scalar(sa.select(_counters.c.data).where(_counters.c.fleet == fleet))
        return _value(dict[str, Counters], text) if text else {}

    def events(
        self, endpoint: str | None = None, rollout: str | None = None, last: int = 500
    ) -> tuple[Event, ...]:
        """History, oldest first."""
        query = sa.select(_events).order_by(_events.c.id.desc()).limit(last)
        if endpoint:
            query = query.where(_events.c.endpoint == endpoint)
        if rollout:
            query = query.where(_events.c.rollout == rollout)
        with self._reading.connect() as db:
            rows = db.execute(query).all()
        return tuple(_event(row) for row in reversed(rows))

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


class Writer:
    """The controller's writes inside one transaction."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def save(self, rollout: Rollout, *, running: bool) -> None:
        """Keep a rollout's state; `running` False frees the endpoint for the next one."""
        opinion = _text(rollout.opinion) if rollout.opinion else None
        values: dict[str, Any] = {
            "state": _text(rollout.state),
            "judged": _text(rollout.case),
            "opinion": opinion,
            "active": rollout.request.endpoint if running else None,
        }
        self._db.execute(_rollouts.update().where(_rollouts.c.id == rollout.request.id).values(**values))

    def serve(self, endpoint: str, stable: Release | None, previous: Release | None) -> None:
        """The endpoint now serves `stable`."""
        self._db.execute(
            _endpoints.update()
            .where(_endpoints.c.name == endpoint)
            .values(stable=_text(stable) if stable else None, previous=_text(previous) if previous else None)
        )

    def arrange(self, endpoint: str, arrangement: Arrangement) -> None:
        """Keep what serves beside the stable release."""
        text = _text(arrangement)
        if not self._db.execute(
            _arrangements.update().where(_arrangements.c.endpoint == endpoint).values(data=text)
        ).rowcount:
            self._db.execute(_arrangements.insert().values(endpoint=endpoint, data=text))

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._db.execute(_arrangements.delete().where(_arrangements.c.endpoint == endpoint))
        self._db.execute(_endpoints.delete().where(_endpoints.c.name == endpoint))

    def retire(self, fleet: Fleet) -> None:
        """Nobody wants this fleet any more."""
        self.keep(fleet.id)
        self._db.execute(_retiring.insert().values(fleet=fleet.id, data=_text(fleet)))

    def keep(self, fleet: str) -> None:
        """The fleet is gone, or wanted again."""
        self._db.execute(_retiring.delete().where(_retiring.c.fleet == fleet))

    def count(self, fleet: str, counters: Totals, sample: Sample) -> None:
        """Remember the totals and, when anything was answered, the sample."""
        text = _text(counters, dict[str, Counters])
        if not self._db.execute(
            _counters.update().where(_counters.c.fleet == fleet).values(data=text)
        ).rowcount:
            self._db.execute(_counters.insert().values(fleet=fleet, data=text))
        if sample.requests or sample.other.get("refused"):
            self._db.execute(
                _samples.insert().values(fleet=fleet, at=sample.at.timestamp(), data=_text(sample))
            )

    def announce(self, rollout_id: str) -> None:
        """The registry and the people concerned know."""
        self._db.execute(_rollouts.update().where(_rollouts.c.id == rollout_id).values(announced=True))

    def prune(self, before: datetime) -> None:
        """Forget samples older than a moment."""
        self._db.execute(_samples.delete().where(_samples.c.at < before.timestamp()))

    def note(self, event: Event) -> None:
        """Add a line to the history."""
        self._db.execute(
            _events.insert().values(
                at=event.at.timestamp(),
                endpoint=event.endpoint,
                rollout=event.rollout,
                kind=event.kind,
                data=json.dumps(dict(event.data)),
            )
        )


def _summary(request: Request) -> dict[str, Any]:
    return {
        "model": request.release.model,
        "version": request.release.version,
        "digest": request.release.digest,
        "by": request.requested_by,
        "steps": [[step.weight, step.mirror, step.bake.total_seconds()] for step in request.plan.steps],
    }


def _endpoint(row: Any) -> Endpoint | None:
    if row is None:
        return None
    stable = _value(Release, row.stable) if row.stable else None
    previous = _value(Release, row.previous) if row.previous else None
    return Endpoint(row.name, stable, previous, row.champion, row.removed)


def _arrangement(db: sa.Connection, endpoint: str) -> Arrangement:
    text = db.scalar(sa.select(_arrangements.c.data).where(_arrangements.c.endpoint == endpoint))
    return _value(Arrangement, text) if text else Arrangement()


def _rollout(row: Any) -> Rollout:
    return Rollout(
        _value(Request, row.request),
        _value(State, row.state),
        _value(Case, row.judged),
        _value(Opinion, row.opinion) if row.opinion else None,
        row.abort,
        row.announced,
    )


def _event(row: Any) -> Event:
    return Event(
        datetime.fromtimestamp(row.at, UTC), row.endpoint, row.kind, json.loads(row.data), row.rollout
    )


def archives(home: Path) -> Path:
    """Folder of packages by digest, `<digest>.tar.gz`."""
    return home / "archives"


__all__ = ["Endpoint", "Event", "Phase", "Rollout", "Store", "Writer", "archives"]
