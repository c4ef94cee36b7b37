"""A job's folder: what was asked, which objects are finished, how far it is. One process at a time.

job.json        the request, its digest, its time       journal.jsonl   a line for each finished object
progress.json   for whoever watches                     logs/, package/, lock
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from steps.transform.errors import JobBusy, JobRefused
from steps.transform.job import Job
from steps.transform.port import Finished
from steps.transform.storage import Source

PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    status: str
    """InProgress, Completed, Failed, Stopping or Stopped; a process that was killed leaves InProgress."""
    objects: int
    finished: int
    """Objects with a result, those of an earlier run included."""
    failed: int
    bytes: int
    """Of all objects as stored."""
    read: int
    records: int
    """Transformed by this and earlier runs."""


@dataclass(frozen=True, slots=True)
class Journal:
    """An open job folder."""

    folder: Path
    at: datetime
    """When the job was first asked for."""
    done: dict[str, dict[str, Any]]
    """Lines of finished objects by key."""

    def finished(self, source: Source) -> bool:
        """The very object that lies there now was transformed by this job."""
        return self.done.get(source.key, {}).get("stamp") == source.stamp

    def note(self, source: Source, event: Finished) -> None:
        """Remember, on disk, that an object is finished."""
        line = {**asdict(event), "stamp": source.stamp}
        with (self.folder / "journal.jsonl").open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.done[source.key] = line

    def publish(self, progress: Progress) -> None:
        """For whoever watches the folder."""
        _replace(self.folder / PROGRESS, asdict(progress))


def progress_in(folder: Path) -> Progress | None:
    """How far the job of a folder is; None before it began."""
    try:
        return Progress(**json.loads((folder / PROGRESS).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def journal(folder: Path, job: Job, digest: str, at: datetime) -> Iterator[Journal]:
    """The job's folder, for this process alone.

    Args:
        folder: made when it is not there.
        job: what is asked.
        digest: of the job and its package.
        at: now; a job that is resumed keeps its first time.

    Raises:
        JobRefused: the folder belongs to another job of this name.
        JobBusy: another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobBusy(
                f"another process works on job {job.transform_job_name}; wait for its end"
            ) from None
        yield Journal(folder, _opened(folder, job, digest, at), _read(folder / "journal.jsonl"))


def _opened(folder: Path, job: Job, digest: str, at: datetime) -> datetime:
    """The job's time, after its request was written or found to be the same."""
    file = folder / "job.json"
    if not file.exists():
        _replace(file, {"digest": digest, "at": at.isoformat(), "request": job.to_request()})
        return at
    found = json.loads(file.read_text())
    if found["digest"] != digest:
        raise JobRefused(
            f"there is a job {job.transform_job_name} already, with other settings or another package; "
            "use another name, or the same settings to resume it"
        )
    return datetime.fromisoformat(found["at"])


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Lines by key. What a killed process left half written at the end is cut off."""
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(file, len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {line["key"]: line for line in lines}


def _replace(file: Path, value: Any) -> None:
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(file)
