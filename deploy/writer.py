"""What is written inside one transaction: by the controller, and by the wishes that change several things."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from deploy.port import Counters, Fleet, Totals
from deploy.release import Release
from deploy.scaling import Scale
from deploy.stored import Event, Rollout, text_of
from deploy.tables import ARRANGEMENTS, COUNTERS, ENDPOINTS, EVENTS, RETIRING, ROLLOUTS, SAMPLES, SCALES
from deploy.variants import Arrangement
from monitoring.alarms import Sample


class Writer:
    """The controller's writes inside one transaction."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def save(self, rollout: Rollout, *, running: bool) -> None:
        """Keep a rollout's state; `running` False frees the endpoint for the next one."""
        opinion = text_of(rollout.opinion) if rollout.opinion else None
        values: dict[str, Any] = {
            "state": text_of(rollout.state),
            "judged": text_of(rollout.case),
            "opinion": opinion,
            "active": rollout.request.endpoint if running else None,
        }
        self._db.execute(ROLLOUTS.update().where(ROLLOUTS.c.id == rollout.request.id).values(**values))

    def serve(self, endpoint: str, stable: Release | None, previous: Release | None) -> None:
        """The endpoint now serves `stable`."""
        self._db.execute(
            ENDPOINTS.update()
            .where(ENDPOINTS.c.name == endpoint)
            .values(
                stable=text_of(stable) if stable else None, previous=text_of(previous) if previous else None
            )
        )

    def arrange(self, endpoint: str, arrangement: Arrangement) -> None:
        """Keep what serves beside the stable release."""
        text = text_of(arrangement)
        if not self._db.execute(
            ARRANGEMENTS.update().where(ARRANGEMENTS.c.endpoint == endpoint).values(data=text)
        ).rowcount:
            self._db.execute(ARRANGEMENTS.insert().values(endpoint=endpoint, data=text))

    def scale(self, endpoint: str, scale: Scale) -> None:
        """Keep the number of instances that an endpoint is to have."""
        text = text_of(scale)
        if not self._db.execute(
            SCALES.update().where(SCALES.c.endpoint == endpoint).values(data=text)
        ).rowcount:
            self._db.execute(SCALES.insert().values(endpoint=endpoint, data=text))

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._db.execute(SCALES.delete().where(SCALES.c.endpoint == endpoint))
        self._db.execute(ARRANGEMENTS.delete().where(ARRANGEMENTS.c.endpoint == endpoint))
        self._db.execute(ENDPOINTS.delete().where(ENDPOINTS.c.name == endpoint))

    def retire(self, fleet: Fleet) -> None:
        """Nobody wants this fleet any more."""
        self.keep(fleet.id)
        self._db.execute(RETIRING.insert().values(fleet=fleet.id, data=text_of(fleet)))

    def keep(self, fleet: str) -> None:
        """The fleet is gone, or wanted again."""
        self._db.execute(RETIRING.delete().where(RETIRING.c.fleet == fleet))

    def count(self, fleet: str, counters: Totals, sample: Sample) -> None:
        """Remember the totals and, when anything was answered, the sample."""
        text = text_of(counters, dict[str, Counters])
        if not self._db.execute(
            COUNTERS.update().where(COUNTERS.c.fleet == fleet).values(data=text)
        ).rowcount:
            self._db.execute(COUNTERS.insert().values(fleet=fleet, data=text))
        if sample.requests or sample.other.get("refused"):
            self._db.execute(
                SAMPLES.insert().values(fleet=fleet, at=sample.at.timestamp(), data=text_of(sample))
            )

    def announce(self, rollout_id: str) -> None:
        """The registry and the people concerned know."""
        self._db.execute(ROLLOUTS.update().where(ROLLOUTS.c.id == rollout_id).values(announced=True))

    def prune(self, before: datetime) -> None:
        """Forget samples older than a moment."""
        self._db.execute(SAMPLES.delete().where(SAMPLES.c.at < before.timestamp()))

    def note(self, event: Event) -> None:
        """Add a line to the history."""
        self._db.execute(
            EVENTS.insert().values(
                at=event.at.timestamp(),
                endpoint=event.endpoint,
                rollout=event.rollout,
                kind=event.kind,
                data=json.dumps(dict(event.data)),
            )
        )
