"""Workers as processes of this machine, each with a model server of its own."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence

from steps.transform import wire
from steps.transform.errors import ServerFailed
from steps.transform.port import Broken, Event, Finished, Work
from steps.transform.storage import Source

ATTEMPTS = 2
"""Workers that may die over one object before it is given up."""


class Processes:
    """A runner.

    Args:
        count: workers.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = max(1, count)

    def run(self, work: Work, sources: Sequence[Source]) -> Generator[Event, None, None]:
        """See `steps.transform.port.Runner`."""
        pool = _Pool(work, sources)
        try:
            for _ in range(min(self._count, len(sources))):
                pool.hire()
            yield from pool.events()
        finally:
            pool.close()


class _Worker:
    """A process, and the thread that listens to it."""

    def __init__(
        self, number: int, work: Work, heard: queue.SimpleQueue[tuple[_Worker, bytes | None]]
    ) -> None:
        self.source: Source | None = None
        log = work.folder / "logs" / f"worker-{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "steps.transform.worker", str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.say(wire.work_to_json(work))
        self._thread = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """One line; a worker that has died is noticed when it falls silent."""
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()

    def close(self) -> None:
        """End it and its server."""
        if self.source is None:
            self.say("")
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait()
        self._thread.join()
        if self.process.stdout:
            self.process.stdout.close()

    def _listen(self, heard: queue.SimpleQueue[tuple[_Worker, bytes | None]]) -> None:
        for line in self.process.stdout or ():
            heard.put((self, line))
        heard.put((self, None))


class _Pool:
    """Gives objects to workers as these become free, and replaces workers that die."""

    def __init__(self, work: Work, sources: Sequence[Source]) -> None:
        self._work, self._left = work, deque(sources)
        self._open = len(sources)
        self._attempts: dict[str, int] = {}
        self._workers: list[_Worker] = []
        self._heard: queue.SimpleQueue[tuple[_Worker, bytes | None]] = queue.SimpleQueue()

    def hire(self) -> None:
        """One more worker."""
        worker = _Worker(len(self._workers) + 1, self._work, self._heard)
        self._workers.append(worker)
        self._employ(worker)

    def events(self) -> Generator[Event, None, None]:
        """Until every object has ended."""
        while self._open:
            worker, line = self._heard.get()
            event = wire.event_from_json(line) if line else self._lost(worker)
            if isinstance(event, Finished | Broken):
                self._open -= 1
                worker.source = None
                self._employ(worker)
            if event:
                yield event

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()

    def _employ(self, worker: _Worker) -> None:
        if self._left and worker.process.poll() is None:
            worker.source = self._left.popleft()
            worker.say(wire.source_to_json(worker.source))

    def _lost(self, worker: _Worker) -> Event | None:
        """A worker died: its object goes to another one, or is given up."""
        code = worker.process.wait()
        source, worker.source = worker.source, None
        if source is None:
            if self._left and all(one.process.poll() is not None for one in self._workers):
                raise ServerFailed(f"all workers have ended (exit code {code}); their logs say why")
            return None
        tried = self._attempts[source.key] = self._attempts.get(source.key, 0) + 1
        if tried < ATTEMPTS:
            self._left.appendleft(source)
            self.hire()
            return None
        if self._left:
            self.hire()
        return Broken(source.key, f"{tried} workers died over it (exit code {code}); it may need more memory")
