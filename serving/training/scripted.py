"""Script mode of training: the user's own program, with SageMaker's command line and variables.

The program's output passes through; the end of its error output is kept for the failure file. SIGTERM is
passed on, and the program has the time of the contract to save what it wants to keep.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from serving.contract import Tree
from serving.errors import Permanent
from serving.training.job import Job, JobInvalid

KEPT_LINES = 60
"""Lines of error output that are kept."""

log = logging.getLogger("serving")


class ScriptFailed(Permanent):
    """The user's program ended with another code than 0; the text is that of the failure file."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int
    errors: tuple[str, ...]
    """The last lines of its error output."""


def code_folder(job: Job, tree: Tree) -> Path:
    """The folder with the user's program; an archive is unpacked into `/opt/ml/code` first.

    Raises:
        JobInvalid: the program is not there.
    """
    given = str(job.framework.get("sagemaker_submit_directory") or "").removeprefix("file://")
    places = [tree.code]
    if given.endswith((".tar.gz", ".tgz")) and Path(given).is_file():
        tree.code.mkdir(parents=True, exist_ok=True)
        with tarfile.open(given) as archive:
            archive.extractall(tree.code, filter="data")
    elif given and "://" not in given:
        places.insert(0, Path(given))
    for place in places:
        if (place / job.program).is_file():
            return place
    hint = "; mount the code there, nothing is downloaded" if "://" in given else ""
    raise JobInvalid(f"there is no {job.program} in {' or '.join(map(str, places))}{hint}")


def command(program: Path, arguments: Sequence[str]) -> list[str]:
    """Python for `.py`, else the shell."""
    if program.suffix == ".py":
        return [sys.executable, str(program), *arguments]
    return ["/bin/sh", str(program), *arguments]


def run(
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    started: Callable[[subprocess.Popen[bytes]], None],
) -> Ended:
    """Run to the end; `started` gets the process, to pass signals on."""
    log.info("running %s", " ".join(arguments))
    process = subprocess.Popen(arguments, cwd=folder, env=dict(environ), stderr=subprocess.PIPE)
    started(process)
    last: deque[str] = deque(maxlen=KEPT_LINES)
    if process.stderr is None:
        raise JobInvalid("the program's error output is not connected")
    reader = threading.Thread(target=_pass_on, args=(process.stderr, last), daemon=True)
    reader.start()
    code = process.wait()
    reader.join(5)  # a process of the program's own may still hold the pipe
    return Ended(code, tuple(last))


def _pass_on(source: IO[bytes], last: deque[str]) -> None:
    for line in source:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        last.append(line.decode("utf-8", "replace").rstrip("\n"))


def failure(ended: Ended, arguments: Sequence[str]) -> str:
    """The text of the failure file, the most telling line first: only the beginning of it is shown."""
    lines = [line for line in ended.errors if line.strip()]
    begin = next((n for n in range(len(lines) - 1, -1, -1) if lines[n].startswith("Traceback (most")), None)
    message = lines[-1] if lines else ""
    trace = "\n".join(lines[begin:] if begin is not None else lines[-20:])
    return (
        f'ExecuteUserScriptError:\nExitCode {ended.code}\nErrorMessage "{message}"\n'
        f'Command "{" ".join(arguments)}"\n{trace}\n'
    )
