"""Workers of a Dask cluster, each with a model server of its own.

The package travels with the job; Seaway must be installed on every worker, and input and output be
reachable from it under the same names.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from distributed import Client, WorkerPlugin, as_completed, get_worker

from steps.transform import wire
from steps.transform.bench import Bench, bench
from steps.transform.errors import ServerFailed
from steps.transform.port import Broken, Event, Finished, Moved, Work
from steps.transform.storage import Source
from steps.transform.worker import attempt

_QUEUED = 4
"""Objects that the scheduler holds for each thread of the cluster; more come as these end."""


class Dask:
    """A runner.

    Args:
        address: the scheduler's, for example `tcp://scheduler:8786`.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, work: Work, sources: Sequence[Source]) -> Generator[Event, None, None]:
        """See `steps.transform.port.Runner`; `Moved` is told when an object ends."""
        name = f"seaway-{work.digest}"
        plugin = Station(name, wire.work_to_json(work), work.model.archive.read_bytes())
        with Client(self._address, set_as_default=False) as client:
            client.register_plugin(plugin, name=name)
            try:
                yield from self._events(client, name, sources)
            finally:
                with contextlib.suppress(OSError):  # a worker that is leaving takes its server along
                    client.unregister_worker_plugin(name)

    def _events(self, client: Client, name: str, sources: Sequence[Source]) -> Generator[Event, None, None]:
        left = iter(sources)
        known: dict[Any, Source] = {}

        def submit(source: Source) -> Any:
            future = client.submit(_transform, name, source, key=f"{name}-{source.key}", pure=False)
            known[future] = source
            return future

        width = max(1, sum(client.nthreads().values())) * _QUEUED
        running = as_completed(loop=client.loop)
        for source in islice(left, width):
            running.add(submit(source))
        for future in running:
            source = known.pop(future)
            event = self._ended(future, source)
            future.release()  # else Dask does the object again when its worker dies later
            if isinstance(event, Finished):
                yield Moved(source.key, source.size)
            yield event
            if (further := next(left, None)) is not None:
                running.add(submit(further))

    def _ended(self, future: Any, source: Source) -> Event:
        from distributed import KilledWorker

        try:
            return wire.event_from_json(future.result())
        except KilledWorker as error:
            return Broken(source.key, f"workers died over it; it may need more memory ({error})")


class Station(WorkerPlugin):  # type: ignore[misc]
    """A worker's model server, started by its first object."""

    def __init__(self, name: str, work: str, archive: bytes) -> None:
        self.name, self._work, self._archive = name, work, archive

    def setup(self, worker: Any) -> None:
        """The plugin comes to a worker."""
        self._folder = Path(worker.local_directory) / self.name
        self._lock, self._stack, self._over = threading.Lock(), ExitStack(), False
        self._bench: Bench | None = None

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's signature
        """The job or the worker ends; what is being computed is given up, and nobody waits for it."""
        self._over = True
        if self._bench is not None:
            self._bench.server.close()

    def transform(self, source: Source) -> str:
        """One object at a time: it fills the model server by itself."""
        with self._lock:
            if self._bench is None and not self._over:
                self._bench = self._stack.enter_context(
                    bench(self._local_work(), self._folder / "server.log")
                )
            if self._bench is None or self._over:
                self._stack.close()
                raise ServerFailed("the job has ended")
            return wire.event_to_json(attempt(self._bench, source, lambda _: None))

    def _local_work(self) -> Work:
        self._folder.mkdir(parents=True, exist_ok=True)
        archive = self._folder / "model.tar.gz"
        archive.write_bytes(self._archive)
        work = wire.work_from_json(self._work)
        return replace(work, folder=self._folder, model=replace(work.model, archive=archive))


def _transform(name: str, source: Source) -> str:
    from serving.errors import ServingError
    from steps.errors import StepError

    station: Station = get_worker().plugins[name]
    try:
        return station.transform(source)
    except (StepError, ServingError) as error:
        return wire.failure_to_json(error)
