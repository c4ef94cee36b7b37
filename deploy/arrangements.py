"""What serves beside an endpoint's stable release, in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from deploy.errors import RolloutRefused
from deploy.stored import Endpoint, endpoint_of, value_of
from deploy.tables import ARRANGEMENTS, ENDPOINTS, ROLLOUTS
from deploy.variants import Arrangement
from deploy.writer import Writer


def arrangement_of(db: sa.Connection, endpoint: str) -> Arrangement:
    """What serves beside an endpoint's stable release."""
    text = db.scalar(sa.select(ARRANGEMENTS.c.data).where(ARRANGEMENTS.c.endpoint == endpoint))
    return value_of(Arrangement, text) if text else Arrangement()


def rearrange(
    db: sa.Connection, endpoint: str, archives: Path, change: Callable[[Endpoint, Arrangement], Arrangement]
) -> Arrangement:
    """See `deploy.store.Store.rearrange`."""
    row = db.execute(sa.select(ENDPOINTS).where(ENDPOINTS.c.name == endpoint).with_for_update())
    found = endpoint_of(row.first())
    if found is None or found.removed or found.stable is None:
        raise RolloutRefused(f"endpoint {endpoint} serves nothing yet; deploy a version to it first")
    if running := db.scalar(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.active == endpoint)):
        raise RolloutRefused(f"rollout {running} is running on endpoint {endpoint}; wait for its end")
    before = arrangement_of(db, endpoint)
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
