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

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LEVELS = ("debug", "info", "warning", "error")


def main(arguments: list[str] | None = None) -> int:
    """Load the model, then serve until a signal comes; returns the exit code."""
    began = time.perf_counter()
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for variable in THREADS:
        os.environ[variable] = "1"  # read when NumPy is first imported, below: pools slow single rows down
    from serving.app import Application, payload_limit
    from serving.errors import ServingError
    from serving.predictor import load
    from serving.server import serve

    log = logging.getLogger("serving")
    try:
        application = Application(load(options.package), payload_limit(os.environ))
    except (ServingError, ValueError) as error:
        log.error("cannot serve %s: %s", options.package, error)  # noqa: TRY400 - the message says it all
        return 1
    manifest = application.manifest
    log.info(
        "serving model %s by %s on %s:%d, loaded in %.3f s",
        manifest.model,
        manifest.runtime,
        options.host,
        options.port,
        time.perf_counter() - began,
    )
    return serve(application, options.host, options.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve one model package.")
    parser.add_argument("--package", type=Path, required=True, help="folder of an unpacked package")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--log-level", default="info", choices=LEVELS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
