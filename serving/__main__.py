"""Serve one unpacked package: `python -m serving --package FOLDER --port N`.

One process, so that ending this process ends the server. SIGTERM and SIGINT let it finish what it has.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.app import Application

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LEVELS = ("debug", "info", "warning", "error")
LAST_CAPTURES = 5.0
"""Seconds given to captures that are not written yet when the server ends."""


def main(arguments: list[str] | None = None) -> int:
    """Load the model, then serve until a signal comes; returns the exit code."""
    began = time.perf_counter()
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    if os.environ.get("SEAWAY_SERVERLESS"):
        from serving import serverless

        return serverless.main(options.package, options.host, options.port, options.log_level)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    for variable in THREADS:
        # Read when NumPy is first imported, below. More than one slows single rows down.
        os.environ[variable] = os.environ.get("SEAWAY_THREADS") or "1"
    log = logging.getLogger("serving")
    from serving.errors import ServingError

    try:
        application = _application(options.package)
    except (ServingError, ValueError) as error:
        log.error("cannot serve %s: %s", options.package, error)  # noqa: TRY400 - the message says it all
        return 1
    log.info(
        "serving model %s on %s:%d, loaded in %.3f s",
        options.package.name,
        options.host,
        options.port,
        time.perf_counter() - began,
    )
    from serving.server import serve

    try:
        return serve(application, options.host, options.port)
    finally:
        application.close(LAST_CAPTURES)


def _application(folder: Path) -> Application:
    from serving.app import Application, Limits
    from serving.loading import load

    limits = Limits.read(os.environ)
    recorder = None
    if os.environ.get("SEAWAY_CAPTURE"):
        from serving import capture

        recorder = capture.from_environment(os.environ)
    return Application(load(folder, os.environ), limits, recorder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve one model package.")
    parser.add_argument("--package", type=Path, required=True, help="folder of an unpacked package")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--log-level", default="info", choices=LEVELS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
