"""Run folders named by content: a step whose inputs, parameters and code did not change is not run again."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.retention import Item, Retention, expired
from steps import disk
from steps.errors import StorageFull

RESULT = "result.json"
"""Written last; a folder without it is not a result."""
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step left behind."""

    folder: Path
    cached: bool
    """True when an earlier run had the same key."""
    output: dict[str, Any]
    """What the step's body returned."""
    seconds: float
    """How long the body took, when it really ran."""


def key(step: str, parameters: Mapping[str, Any], inputs: Mapping[str, str], code: str) -> str:
    """Name of a run: the sha256 of everything that decides its output.

    Args:
        step: name of the step.
        parameters: JSON-able settings.
        inputs: digest of each input by name.
        code: `code_digest` of what runs.
    """
    facts = {"step": step, "parameters": parameters, "inputs": inputs, "code": code}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_of(path: Path) -> str:
    """sha256 of a file, or of a folder's relative names and contents; dates and owners do not count."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = (f"{digest_of(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def code_digest(places: Iterable[Path]) -> str:
    """sha256 of Python source: files, and folders by the `.py` files below them, hidden ones left out."""
    found: dict[str, str] = {}
    for place in places:
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            relative = file.relative_to(place.parent)
            if not any(part.startswith(".") for part in relative.parts):
                found[relative.as_posix()] = digest_of(file)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def run_step(
    name: str, key: str, runs: Path, body: Callable[[Path], dict[str, Any]], *, force: bool = False
) -> StepResult:
    """Run `body` in a new folder and keep the folder under its key, or reuse the one that is there.

    The body writes its files into the folder it is given and returns JSON-able facts. The folder takes its
    final name in one atomic rename after everything is on disk, so a crash never leaves half a result.

    Raises:
        StorageFull: the disk is full; nothing is left behind.
    """
    folder = runs / f"{name}-{key[:20]}"
    if not force and (result := _read(folder, key)):
        os.utime(folder)
        return StepResult(folder, True, result["output"], result["seconds"])
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with _unfinished(runs) as temporary:
            started = time.perf_counter()
            output = body(temporary)
            result = {
                "step": name,
                "key": key,
                "seconds": round(time.perf_counter() - started, 3),
                "files": {
                    file.relative_to(temporary).as_posix(): file.stat().st_size for file in _files(temporary)
                },
                "output": output,
            }
            (temporary / RESULT).write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
            _to_disk(temporary)
            _publish(temporary, folder, key, force=force)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(
                f"step {name}: the disk of {runs} is full; free some space and repeat"
            ) from error
        raise
    # What JSON made of the output is what a later, cached run returns: give the same now.
    stored = _read(folder, key) or result
    return StepResult(folder, False, stored["output"], stored["seconds"])


def prune(runs: Path, rule: Retention, now: datetime, *, dry_run: bool = False) -> tuple[Item, ...]:
    """Remove old results, and what crashed runs left; returns what went, or with `dry_run` would go."""
    return disk.clear(expired(_found(runs), (), rule, now), dry_run=dry_run)


def _found(runs: Path) -> Iterator[Item]:
    """Results by step, and what no living process works on."""
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        step = folder.name.rpartition("-")[0]
        left = folder.name.startswith((_UNFINISHED, disk.REMOVED))
        if not step or not folder.is_dir() or (left and _alive(folder)):
            continue
        if since := disk.used([folder]):
            yield Item("" if left else step, folder.name, (folder,), since)


def _read(folder: Path, key: str) -> dict[str, Any] | None:
    """The stored result, or None when the folder is not a complete result of this key."""
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
        whole = result["key"] == key and all(
            (folder / name).stat().st_size == size for name, size in result["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if whole else None


@contextmanager
def _unfinished(runs: Path) -> Iterator[Path]:
    """A folder that is locked while its run lives and gone when the block fails."""
    temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=runs))
    handle = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        temporary.chmod(0o755)
        yield temporary
    finally:
        os.close(handle)
        disk.remove(temporary)


def _alive(folder: Path) -> bool:
    """Whether a process still works in an unfinished folder; locks end with their process."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _publish(temporary: Path, folder: Path, key: str, *, force: bool) -> None:
    """Give the finished folder its name; of two equal runs that race, the first stays."""
    if folder.exists() and (force or _read(folder, key) is None):
        disk.remove(folder)
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST} or _read(folder, key) is None:
            raise
    _sync(folder.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _to_disk(folder: Path) -> None:
    for file in _files(folder):
        _sync(file)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
