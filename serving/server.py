"""Granian inside this process: start, signals, drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal

from serving.app import Application

DRAIN = 24.0
"""Seconds given to requests in flight after a signal; who sent it waits 30 before it kills."""

POLL = 0.01
"""Seconds between looks at the requests in flight."""
SETTLE = 0.1
"""Seconds for Granian to put the last answers on the wire; it does not say when it has."""

log = logging.getLogger("serving")


def serve(application: Application, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code: 0, or 1 when requests had to be cut off."""
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it again and again would hold up requests
    return asyncio.run(_serve(application, host, port))


async def _serve(application: Application, host: str, port: int) -> int:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=1024,
        backpressure=1024,
    )
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    running = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    application.draining = True
    deadline = loop.time() + DRAIN
    server.stop()  # closes the listening socket; open connections go on
    await asyncio.wait((running,), timeout=DRAIN)  # Granian waits for every request, however long it takes
    return await _drain(application, deadline)


async def _drain(application: Application, deadline: float) -> int:
    loop = asyncio.get_running_loop()
    while application.in_flight and loop.time() < deadline:  # noqa: ASYNC110 - Granian has no event
        await asyncio.sleep(POLL)
    if application.in_flight:
        log.warning("cut off %d requests after %g s", application.in_flight, DRAIN)
        return 1
    await asyncio.sleep(SETTLE)
    log.info("all requests are answered; the server ends")
    return 0
