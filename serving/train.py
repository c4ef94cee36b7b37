"""`docker run IMAGE train`: one training job under the container contract.

With a program (`SAGEMAKER_PROGRAM` or hyperparameter `sagemaker_program`) that runs, else the built-in
trainer. Exit code 0 and the file `success`; 255 and the file `failure` with the reason; 143 after SIGTERM,
where neither file is written: the job was interrupted, it has not failed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from serving import contract, requirements
from serving.contract import Tree
from serving.errors import ServingError
from serving.training import job, scripted
from serving.training.job import Job, Machine
from serving.training.scripted import ScriptFailed

FAILED, INTERRUPTED = 255, 143
MARGIN = 2.0
"""Seconds before the platform's SIGKILL at which a program that does not end is killed by us."""

log = logging.getLogger("serving")


class Interrupted(BaseException):
    """SIGTERM came."""


class _Stop:
    """What SIGTERM does: pass it on to the program that runs, or break off the built-in trainer."""

    def __init__(self) -> None:
        self.asked = False
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if self._process is None:
            raise Interrupted
        self._pass_on(self._process)

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """From now on signals go to `process`."""
        self._process = process

    @staticmethod
    def _pass_on(process: subprocess.Popen[bytes]) -> None:
        log.info("SIGTERM: the program has %g s to end", contract.STOP_GRACE_TRAIN)
        process.terminate()
        last = threading.Timer(contract.STOP_GRACE_TRAIN - MARGIN, process.kill)
        last.daemon = True
        last.start()


def main() -> int:
    """Train; returns the exit code."""
    environ = dict(os.environ)
    level = environ.get(contract.LOG_LEVEL, "")
    logging.basicConfig(
        stream=sys.stderr,
        level=int(level) if level.isdecimal() else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    tree = Tree.of(environ)
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop)
    try:
        _train(tree, environ, stop)
    except Interrupted:
        stop.asked = True
    except ScriptFailed as error:
        if not stop.asked:
            return _failed(tree, str(error))
    except ServingError as error:
        return _failed(tree, f"{type(error).__name__}: {error}\n")
    except Exception as error:  # an estimator may raise anything
        trace = traceback.format_exc()
        log.exception("training failed")
        return _failed(tree, f"Exception during training: {type(error).__name__}: {error}\n{trace}")
    if stop.asked:
        log.info("interrupted")
        return INTERRUPTED
    _write(tree.success, "")
    return 0


def _train(tree: Tree, environ: Mapping[str, str], stop: _Stop) -> None:
    asked = job.read(tree, environ)
    for folder in (tree.model, tree.output_data, tree.output_intermediate):
        folder.mkdir(parents=True, exist_ok=True)
    if asked.program:
        _script(asked, tree, environ, stop)
        return
    from serving.training.estimator import train

    train(asked, tree)


def _script(asked: Job, tree: Tree, environ: Mapping[str, str], stop: _Stop) -> None:
    folder = scripted.code_folder(asked, tree).resolve()
    requirements.install(folder, environ)
    machine = Machine(len(os.sched_getaffinity(0)), len(list(Path("/dev").glob("nvidia[0-9]*"))))
    paths = os.pathsep.join(part for part in (str(folder), environ.get("PYTHONPATH", "")) if part)
    variables = {**environ, "PYTHONPATH": paths, **job.variables(asked, tree, folder, machine, environ)}
    command = scripted.command(folder / asked.program, job.arguments(asked.hyperparameters))
    ended = scripted.run(command, folder, variables, stop.started)
    if ended.code:
        raise ScriptFailed(scripted.failure(ended, command))


def _failed(tree: Tree, text: str) -> int:
    """Keep the reason, unless the program has written one of its own; returns the exit code."""
    log.error("%s", text.partition("\n")[0])
    if not tree.failure.exists():
        _write(tree.failure, text)
    return FAILED


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
