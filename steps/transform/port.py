"""What runs a job's objects, and what it tells while it does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from steps.transform.job import Job
from steps.transform.storage import Source

SERVE = ("-m", "serving", "--package", "{package}", "--port", "{port}")
"""Arguments of Python that serve an unpacked package."""


@dataclass(frozen=True, slots=True)
class Model:
    """The package that answers."""

    archive: Path
    """`model.tar.gz`."""
    digest: str
    """Its sha256."""
    serve: tuple[str, ...] = SERVE
    """Arguments of the Python that runs the model server; `{package}` and `{port}` are filled in."""
    environment: tuple[tuple[str, str], ...] = ()
    """The version's own variables of its model servers; those of a job go before them."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every worker of a job must know."""

    job: Job
    model: Model
    digest: str
    """Of the job."""
    at: datetime
    """The job's time."""
    folder: Path
    """Local folder for logs and the unpacked package, where runner and workers share a machine."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A worker has come further."""

    key: str
    read: int
    """Bytes read since the last time."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An object's result is written."""

    key: str
    records: int
    written: int
    """Bytes of the result."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """An object has no result."""

    key: str
    reason: str


Event = Moved | Finished | Broken


class Runner(Protocol):
    """Spreads objects over workers; each worker has a model server of its own."""

    def run(self, work: Work, sources: Sequence[Source]) -> Generator[Event, None, None]:
        """One `Finished` or `Broken` for every source, in any order; closing the iterator ends all workers.

        Raises:
            steps.transform.errors.ServerFailed: the model server does not start.
            steps.transform.errors.JobRefused: the server's parameters do not go with the job.
        """
        ...
