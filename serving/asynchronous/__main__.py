"""The asynchronous service: `python -m serving.asynchronous --port N --gateway URL --home F --config F`.

One process works on a queue. SIGTERM ends it after what is in process, or after five seconds; SIGKILL at any
moment loses nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from serving.asynchronous.backlog import Backlog
from serving.asynchronous.carrier import Carrier
from serving.asynchronous.configuration import Configurations
from serving.asynchronous.dispatch import Dispatch
from serving.asynchronous.errors import HomeTaken
from serving.asynchronous.invoking import Invoker
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.objects import Stores
from serving.asynchronous.teller import Teller
from serving.asynchronous.web import Desk
from serving.relay import Relay

GRACE = 5.0
"""Seconds given to requests in process after a signal."""
THREADS = 32
"""Reads and writes of files and of S3 at once."""
LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("serving")


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        backlog = Backlog(options.home)
    except HomeTaken as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    try:
        return asyncio.run(_serve(options, backlog))
    finally:
        backlog.close()


async def _serve(options: argparse.Namespace, backlog: Backlog) -> int:
    """Wire everything, run until a signal comes, then end in order; returns the exit code."""
    from aiohttp import web

    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "objects"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    with ThreadPoolExecutor(1, "queue") as queue:

        async def saved(call: Callable[..., Any], *values: Any, **named: Any) -> Any:
            return await loop.run_in_executor(queue, lambda: call(*values, **named))

        configurations, metrics = Configurations(options.config), Metrics()
        stores, relay = Stores(dict(options.object_store), options.home / "spool"), Relay(options.gateway)
        invoker = Invoker(relay, stores, metrics, time.time)
        carrier = Carrier(backlog, saved, stores, invoker, metrics, time.time)
        teller = Teller(backlog, saved, configurations, metrics, time.time)
        dispatch = Dispatch(backlog, saved, carrier, configurations, time.time, teller.wake.set)
        desk = Desk(backlog, saved, configurations, metrics, time.time, dispatch.came)
        runner = web.AppRunner(
            desk.application(), access_log=None, handle_signals=False, shutdown_timeout=GRACE
        )
        await runner.setup()
        await web.TCPSite(runner, options.host, options.port).start()
        log.info("taking asynchronous requests on %s:%d for %s", options.host, options.port, options.gateway)
        loops = [asyncio.create_task(dispatch.run()), asyncio.create_task(teller.run())]
        waiting = asyncio.create_task(asked.wait())
        await asyncio.wait([*loops, waiting], return_when=asyncio.FIRST_COMPLETED)
        await runner.cleanup()
        for task in (*loops, waiting):
            task.cancel()
        ends = await asyncio.gather(*loops, waiting, return_exceptions=True)
        await dispatch.stop(GRACE)
        await relay.close()
        stores.close()
    for error in ends:
        if isinstance(error, Exception):
            log.error("the service ends because of a fault", exc_info=error)
    return 0 if asked.is_set() else 1


def _store(text: str) -> tuple[str, Path]:
    bucket, _, folder = text.partition("=")
    if not bucket or not Path(folder).is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r} is not BUCKET=FOLDER with an absolute folder")
    return bucket, Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.asynchronous", description="Take requests now, answer into an object store."
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--gateway", required=True, help="where requests are sent, such as http://127.0.0.1:8080"
    )
    parser.add_argument("--home", type=Path, required=True, help="folder of the queue; one process at a time")
    parser.add_argument(
        "--config", type=Path, required=True, help="folder with {endpoint}.json for each endpoint"
    )
    parser.add_argument(
        "--object-store",
        type=_store,
        action="append",
        default=[],
        metavar="BUCKET=FOLDER",
        help="a bucket that is a folder on this machine, such as local=/srv/objects; may be repeated",
    )
    parser.add_argument("--log-level", default="info", choices=LEVELS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
