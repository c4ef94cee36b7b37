"""Shadow tests: an approved version gets copies of the live traffic for a while, its answers discarded."""

from __future__ import annotations

from datetime import datetime, timedelta

from deploy.errors import RolloutRefused
from deploy.release import Release
from deploy.variants import Variant
from flows.beside import LONGEST_SHADOW_TEST, approved, put
from flows.wiring import Wiring


def start(
    wiring: Wiring, endpoint: str, subject: tuple[str, str], share: int, duration: timedelta, now: datetime
) -> Variant:
    """Mirror a share of an endpoint's traffic to a version; doing it again changes share and end.

    Args:
        wiring: of this installation.
        endpoint: its name.
        subject: model and version.
        share: percent of the live traffic.
        duration: when it ends by itself; at most thirty days.
        now: the present moment.

    Raises:
        RolloutRefused: another shadow runs on the endpoint, or share or duration make no sense.
    """
    if not 1 <= share <= 100:
        raise RolloutRefused(f"a shadow's share is {share}%; give 1% to 100%")
    if not timedelta() < duration <= LONGEST_SHADOW_TEST:
        raise RolloutRefused("a shadow test lasts up to 30 days; give a shorter time")
    dossier = approved(wiring, *subject)
    others = [one.name for one in wiring.store.arrangement(endpoint).variants if one.mirror]
    name = f"v{subject[1]}"
    if any(other != name for other in others):
        raise RolloutRefused(f"{others[0]} is the shadow of endpoint {endpoint} already; stop it first")
    found = wiring.store.endpoint(endpoint)
    count = found.stable.instance_count if found and found.stable else 1
    wanted = Variant(Release("", "", ""), mirror=share, until=now + duration)
    return put(wiring, endpoint, dossier, count, wanted)


def running(wiring: Wiring, endpoint: str) -> Variant:
    """The shadow of an endpoint.

    Raises:
        RolloutRefused: there is none.
    """
    shadows = [one for one in wiring.store.arrangement(endpoint).variants if one.mirror]
    if not shadows:
        raise RolloutRefused(f"no shadow test runs on endpoint {endpoint}; start one: seaway shadow start")
    return shadows[0]
