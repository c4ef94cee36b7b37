"""A worker process: `python -m steps.transform.worker NUMBER`, work and objects in, events out, a line each.

It ends when its input does, whatever it is doing then, so it cannot outlive the process that started it.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from serving.errors import ServingError
from steps.errors import StepError
from steps.transform import wire
from steps.transform.bench import Bench, bench
from steps.transform.errors import ObjectFailed
from steps.transform.objects import transform_object
from steps.transform.port import Broken, Event, Moved
from steps.transform.storage import Source


def main(number: str, lines: TextIO, out: TextIO) -> int:
    """Transform what comes in until the input ends; returns the exit code."""
    work = wire.work_from_json(lines.readline())
    asked: queue.SimpleQueue[Source | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines, asked), daemon=True).start()

    def tell(text: str) -> None:
        out.write(text + "\n")
        out.flush()

    try:
        with bench(work, work.folder / "logs" / f"server-{number}.log") as place:
            while source := asked.get():
                tell(
                    wire.event_to_json(attempt(place, source, lambda event: tell(wire.event_to_json(event))))
                )
    except (StepError, ServingError) as error:
        tell(wire.failure_to_json(error))
        return 1
    return 0


def attempt(place: Bench, source: Source, tell: Callable[[Event], None]) -> Event:
    """Transform one object; how it ended."""
    try:
        return transform_object(place, source, lambda read: tell(Moved(source.key, read)))
    except ObjectFailed as error:
        return Broken(source.key, str(error))
    except Exception as error:  # noqa: BLE001 - one object must not end the others; the reason is passed on
        return Broken(source.key, f"{type(error).__name__}: {error}")


def _listen(lines: TextIO, asked: queue.SimpleQueue[Source | None]) -> None:
    for line in lines:
        if line == "\n":  # no more objects
            asked.put(None)
            return
        asked.put(wire.source_from_json(line))
    os._exit(1)  # whoever started us is gone


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.stdin, sys.stdout))  # a thread may still wait for input
