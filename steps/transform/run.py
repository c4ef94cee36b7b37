"""A whole job, without Prefect: find the objects, skip what is finished, run the rest, say how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from steps.transform import capture, storage
from steps.transform.job import Job
from steps.transform.journal import Journal, Progress, journal
from steps.transform.port import Broken, Finished, Model, Moved, Runner, Work
from steps.transform.storage import Source

PUBLISH = 0.25
"""Seconds between two publications of bytes read; the end of an object is published at once."""
Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    status: str
    """Completed, or Failed when an object failed."""
    progress: Progress
    skipped: int
    """Objects that an earlier run had finished."""
    failures: tuple[Broken, ...]
    seconds: float


def transform(
    job: Job, model: Model, runner: Runner, folder: Path, at: datetime, watch: Watch | None = None
) -> Outcome:
    """Run the job, or what is left of it when it was run before in the same folder.

    Args:
        job: what is asked.
        model: the package that answers.
        runner: spreads the objects.
        folder: of this job; its journal is what a killed run is resumed from.
        at: now, written as the time of a new job.
        watch: is told how far it is, a few times a second.

    Raises:
        steps.transform.errors.JobRefused: the job makes no sense, or its name is taken.
        steps.transform.errors.JobBusy: another process works on it.
        steps.transform.errors.ServerFailed: the model server does not start.
    """
    job.check()
    began = time.monotonic()
    digest = job.digest(model.digest)
    with journal(folder, job, digest, at) as book:
        found = storage.sources(job)
        done = [source for source in found if book.finished(source) and storage.exists(source.out)]
        state = _State(book, found, done, watch or (lambda _: None))
        kept = set(done)
        left = sorted((one for one in found if one not in kept), key=lambda one: (-one.size, one.key))
        for source in left:
            if source.key in book.done:  # it has changed, or will fail now: what it gave before is no result
                storage.remove(source.out)
        failures = _run(Work(job, model, digest, book.at, folder), left, runner, state)
        broken = {failure.key for failure in failures}
        whole = [source for source in found if source.key not in broken]
        for uri, content in capture.manifests(job, whole, book.at).items():
            storage.write(uri, content)
        status = "Failed" if failures else "Completed"
        state.end(status)
    return Outcome(status, state.progress, len(done), failures, round(time.monotonic() - began, 3))


def _run(work: Work, left: list[Source], runner: Runner, state: _State) -> tuple[Broken, ...]:
    failures = []
    known = {source.key: source for source in left}
    if not left:
        return ()
    with state.leaving("Stopped"), closing(runner.run(work, left)) as events, state.leaving("Stopping"):
        for event in events:
            match event:
                case Moved(_, read):
                    state.moved(read)
                case Finished(key, _, _, _):
                    state.finished(known[key], event)
                case Broken():
                    failures.append(event)
                    state.failed()
    return tuple(sorted(failures, key=lambda one: one.key))


class _State:
    """The progress, told to the folder and to whoever watches."""

    def __init__(self, book: Journal, found: tuple[Source, ...], done: list[Source], watch: Watch) -> None:
        self._book, self._watch, self._told = book, watch, 0.0
        self.progress = Progress(
            status="InProgress",
            objects=len(found),
            finished=len(done),
            failed=0,
            bytes=sum(source.size for source in found),
            read=sum(source.size for source in done),
            records=sum(book.done[source.key]["records"] for source in done),
        )
        self._tell(0.0)

    def moved(self, read: int) -> None:
        self.progress = replace(self.progress, read=self.progress.read + read)
        self._tell(PUBLISH)

    def finished(self, source: Source, event: Finished) -> None:
        self._book.note(source, event)
        now = self.progress
        self.progress = replace(now, finished=now.finished + 1, records=now.records + event.records)
        self._tell(0.0)

    def failed(self) -> None:
        self.progress = replace(self.progress, failed=self.progress.failed + 1)
        self._tell(0.0)

    def end(self, status: str) -> None:
        self.progress = replace(self.progress, status=status)
        self._tell(0.0)

    @contextmanager
    def leaving(self, status: str) -> Iterator[None]:
        """Publish this status when the process is asked to end meanwhile, Failed when there is an error."""
        try:
            yield
        except BaseException as error:
            left = "Failed" if isinstance(error, Exception) else status
            self.progress = replace(self.progress, status=left)
            self._book.publish(self.progress)  # for the folder alone: who watches is ending too
            raise

    def _tell(self, every: float) -> None:
        now = time.monotonic()
        if now - self._told >= every:
            self._told = now
            self._book.publish(self.progress)
            self._watch(self.progress)
