"""Notices that a flow run shall be cancelled, however long the Prefect server was away.

Prefect's own observer listens to events and polls when they stop. When the server does not answer for some
twenty seconds it gives up for good, and the run could not be cancelled any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import anyio
import httpx
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

LOOK_SECONDS = 10.0
"""Time between two looks at a run's state; events are quicker as long as they come."""


class Runs(Protocol):
    """The part of Prefect's client that is used here."""

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """The run as the server knows it."""


class Once:
    """Cancels a run when it is first called, for a second attempt would run the hooks again.

    Args:
        cancel: begins to cancel the run of this id.
    """

    def __init__(self, cancel: Callable[[UUID], None]) -> None:
        self._cancel = cancel
        self._begun = False

    def __call__(self, flow_run_id: UUID) -> None:
        """Begin, unless somebody has."""
        if not self._begun:
            self._begun = True
            self._cancel(flow_run_id)


async def look(
    runs: Runs, flow_run_id: UUID, cancel: Callable[[UUID], None], seconds: float = LOOK_SECONDS
) -> None:
    """Ask the server every so often whether the run shall be cancelled; returns once that has begun.

    A server that does not answer is asked again. Whoever waits for the run ends this.
    """
    while True:
        await anyio.sleep(seconds)
        try:
            state = (await runs.read_flow_run(flow_run_id)).state
        except httpx.HTTPError:
            continue
        except ObjectNotFound:
            return
        if state is not None and state.is_cancelling():
            cancel(flow_run_id)
            return
