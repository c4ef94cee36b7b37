"""The end of an endpoint, in the store: the wish, and what its fulfilment forgets."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from deploy.arrangements import arrangement_of
from deploy.errors import RolloutRefused
from deploy.stored import Endpoint, Event, endpoint_of
from deploy.tables import ENDPOINTS, ROLLOUTS
from deploy.writer import Writer


def ask_removal(db: sa.Connection, endpoint: str, reason: str, now: datetime, *, abort: bool) -> Endpoint:
    """See `deploy.store.Store.remove`."""
    row = db.execute(sa.select(ENDPOINTS).where(ENDPOINTS.c.name == endpoint).with_for_update())
    found = endpoint_of(row.first())
    if found is None:
        raise RolloutRefused(f"there is no endpoint {endpoint}; `seaway endpoints` lists what there is")
    if found.removed:
        return found
    running = db.scalar(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.active == endpoint))
    if running and not abort:
        raise RolloutRefused(
            f"rollout {running} is running on endpoint {endpoint}; wait for its end, "
            f"or end it as well: seaway remove {endpoint} --abort"
        )
    if running:
        mine = sa.and_(ROLLOUTS.c.id == running, ROLLOUTS.c.abort == "")
        db.execute(ROLLOUTS.update().where(mine).values(abort=reason))
    db.execute(ENDPOINTS.update().where(ENDPOINTS.c.name == endpoint).values(removed=True))
    Writer(db).note(Event(now, endpoint, "remove_asked", {"reason": reason}, running))
    return found


def take_down(db: sa.Connection, endpoint: str, archives: Path, now: datetime) -> bool:
    """Forget an endpoint whose removal was asked for, and note its fleets as those that nobody wants.

    Returns whether it was forgotten: not while a rollout runs, nor when nobody asked for it.
    """
    row = db.execute(sa.select(ENDPOINTS).where(ENDPOINTS.c.name == endpoint).with_for_update())
    found = endpoint_of(row.first())
    running = db.scalar(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.active == endpoint))
    if found is None or not found.removed or running:
        return False
    writer = Writer(db)
    beside = [variant.release for variant in arrangement_of(db, endpoint).variants]
    fleets = [one.fleet(endpoint, archives) for one in (*beside, found.stable) if one]
    for fleet in fleets:
        writer.retire(fleet)
    writer.forget(endpoint)
    stable = {"model": found.stable.model, "version": found.stable.version} if found.stable else {}
    writer.note(Event(now, endpoint, "removed", {**stable, "fleets": [fleet.id for fleet in fleets]}))
    return True
