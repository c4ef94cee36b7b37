"""Images on their way: how far they have come, and when another attempt is made."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from deploy.engine import ImageMissing, RegistryUnreachable
from deploy.errands import Errands, Progress
from tests.processes import until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failing(error: Exception, tries: list[str]) -> Callable[[str, Callable[[str], None]], None]:
    def get(image: str, tell: Callable[[str], None]) -> None:
        tell("begun")
        tries.append(image)
        raise error

    return get


def test_a_call_never_waits_and_one_attempt_runs_at_a_time() -> None:
    gate, tries, errands = threading.Event(), list[str](), Errands()

    def get(image: str, tell: Callable[[str], None]) -> None:
        tries.append(image)
        tell("half")
        assert gate.wait(10)
        tell("whole")

    for _ in range(3):
        errands.run("a:1", get)
    until(lambda: errands.news("a:1") == "half")
    gate.set()
    until(lambda: errands.news("a:1") == "whole")
    assert tries == ["a:1"]
    errands.forget("a:1")
    assert errands.news("a:1") == ""


def test_what_may_change_is_tried_again_after_growing_pauses() -> None:
    clock, tries = Clock(), list[str]()
    errands, get = Errands(clock), failing(RegistryUnreachable("far away"), tries)
    errands.run("a:1", get)
    until(lambda: errands.news("a:1") == "far away")
    until(lambda: not errands.busy("a:1"))
    clock.now = 1.9
    errands.run("a:1", get)
    assert len(tries) == 1
    clock.now = 2.1
    errands.run("a:1", get)
    until(lambda: len(tries) == 2 and not errands.busy("a:1"))
    clock.now = 6.0
    errands.run("a:1", get)
    assert len(tries) == 2, "now the pause is four seconds"


def test_a_refusal_is_raised_and_asked_again_after_a_minute() -> None:
    clock, tries = Clock(), list[str]()
    errands, get = Errands(clock), failing(ImageMissing("no such image"), tries)
    errands.run("a:1", get)
    until(lambda: len(tries) == 1 and not errands.busy("a:1"))
    with pytest.raises(ImageMissing, match="no such image"):
        errands.run("a:1", get)
    clock.now = 61.0
    errands.run("a:1", get)
    until(lambda: len(tries) == 2)


def test_progress_counts_layers_and_bytes() -> None:
    progress = Progress()
    assert progress.line({"status": "Pulling from own/model", "id": "1"}) == "0 of 0 layers, 0 of 0 MB"
    for layer in ("a", "b"):
        progress.line({"id": layer, "status": "Pulling fs layer", "progressDetail": {}})
    report = {
        "id": "a",
        "status": "Downloading",
        "progressDetail": {"current": 5_000_000, "total": 20_000_000},
    }
    assert progress.line(report) == "0 of 2 layers, 5 of 20 MB"
    assert progress.line({"id": "a", "status": "Pull complete"}) == "1 of 2 layers, 20 of 20 MB"
    assert progress.line({"id": "b", "status": "Already exists"}) == "2 of 2 layers, 20 of 20 MB"
