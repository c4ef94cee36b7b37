"""Works, sources and events as JSON, for workers in other processes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from steps.transform.errors import JobRefused, ServerFailed
from steps.transform.job import Job
from steps.transform.port import Broken, Event, Finished, Model, Moved, Work
from steps.transform.storage import Source

EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in (Moved, Finished, Broken)}
FAILURES: dict[str, type[Exception]] = {kind.__name__: kind for kind in (JobRefused, ServerFailed)}
"""What ends a whole job, by name."""


def work_to_json(work: Work) -> str:
    """One line."""
    model = work.model
    return json.dumps(
        {
            "request": work.job.to_request(),
            "model": asdict(model) | {"archive": str(model.archive)},
            "digest": work.digest,
            "at": work.at.isoformat(),
            "folder": str(work.folder),
        }
    )


def work_from_json(line: str) -> Work:
    """What `work_to_json` wrote."""
    found = json.loads(line)
    model = found["model"]
    return Work(
        Job.from_request(found["request"]),
        Model(
            Path(model["archive"]),
            model["digest"],
            tuple(model["serve"]),
            tuple((name, value) for name, value in model["environment"]),
        ),
        found["digest"],
        datetime.fromisoformat(found["at"]),
        Path(found["folder"]),
    )


def source_to_json(source: Source) -> str:
    """One line."""
    return json.dumps(asdict(source))


def source_from_json(line: str) -> Source:
    """What `source_to_json` wrote."""
    return Source(**json.loads(line))


def event_to_json(event: Event) -> str:
    """One line."""
    return json.dumps({"event": type(event).__name__, **asdict(event)})


def failure_to_json(error: Exception) -> str:
    """One line that ends the job."""
    name = type(error).__name__
    return json.dumps({"failure": name if name in FAILURES else ServerFailed.__name__, "message": str(error)})


def event_from_json(line: str | bytes) -> Event:
    """What `event_to_json` wrote.

    Raises:
        JobRefused | ServerFailed: the line was written by `failure_to_json`.
    """
    found = json.loads(line)
    if kind := found.pop("failure", ""):
        raise FAILURES[kind](found["message"])
    return EVENTS[found.pop("event")](**found)
