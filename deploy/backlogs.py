"""The queue of asynchronous calls as the controller meets it: how much waits, and who is there to answer."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import httpx

INSTANCES = "instance_count"
"""Entry of an endpoint's settings that whoever scales it writes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What an endpoint has not yet answered."""

    size: int
    """Requests queued and in process."""
    in_flight: int
    """Those in process."""


class Backlogs(Protocol):
    """Queues of asynchronous endpoints."""

    def look(self, endpoint: str) -> Backlog | None:
        """What waits; None when the queue does not answer, or knows no such endpoint."""
        ...

    def tell(self, endpoint: str, instances: int) -> None:
        """Say how many instances answer; may be repeated, and a queue without the endpoint ignores it."""
        ...

    def offer(self, endpoint: str, settings: Mapping[str, Any] | None, *, scaled: bool = False) -> None:
        """Say what an endpoint takes; None when it takes nothing. May be repeated.

        Args:
            endpoint: its name.
            settings: entries of its file.
            scaled: the number of instances that was told before stays in force.
        """
        ...


@dataclass(slots=True)
class MemoryBacklogs:
    """Queues in memory."""

    waiting: dict[str, Backlog] = field(default_factory=dict)
    """By endpoint."""
    told: dict[str, int] = field(default_factory=dict)
    """Instances by endpoint, as last told."""
    offered: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """What endpoints take, as last told."""

    def look(self, endpoint: str) -> Backlog | None:
        """See `Backlogs.look`."""
        return self.waiting.get(endpoint)

    def tell(self, endpoint: str, instances: int) -> None:
        """See `Backlogs.tell`."""
        self.told[endpoint] = instances

    def offer(self, endpoint: str, settings: Mapping[str, Any] | None, *, scaled: bool = False) -> None:
        """See `Backlogs.offer`."""
        self.offered[endpoint] = None if settings is None else {**settings, "scaled": scaled}


class ServiceBacklogs:
    """The queue of `python -m serving.asynchronous`.

    Args:
        url: where the service listens.
        settings: folder with `{endpoint}.json` for each of its endpoints.
    """

    def __init__(self, url: str, settings: Path) -> None:
        self._url = url
        self._settings = settings

    def look(self, endpoint: str) -> Backlog | None:
        """See `Backlogs.look`."""
        import httpx

        try:
            answer = self._http.get(f"/async/endpoints/{endpoint}/backlog")
            if answer.status_code != 200:
                return None
            seen = answer.json()
            return Backlog(seen["ApproximateBacklogSize"], seen["RequestsInProcess"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("the asynchronous service does not tell the backlog of %s: %s", endpoint, error)
            return None

    def tell(self, endpoint: str, instances: int) -> None:
        """See `Backlogs.tell`."""
        settings = read(self._settings, endpoint)
        if settings and settings.get(INSTANCES) != instances:
            with _locked(self._settings):
                if settings := read(self._settings, endpoint):  # it may have changed meanwhile
                    _write(self._settings, endpoint, {**settings, INSTANCES: instances})

    def offer(self, endpoint: str, settings: Mapping[str, Any] | None, *, scaled: bool = False) -> None:
        """See `Backlogs.offer`."""
        if settings is None:
            if (self._settings / f"{endpoint}.json").exists():
                with _locked(self._settings):
                    (self._settings / f"{endpoint}.json").unlink(missing_ok=True)
            return
        self._settings.mkdir(parents=True, exist_ok=True)
        if read(self._settings, endpoint) != _offered(self._settings, endpoint, settings, scaled=scaled):
            with _locked(self._settings):
                wanted = _offered(self._settings, endpoint, settings, scaled=scaled)
                _write(self._settings, endpoint, wanted)

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        return httpx.Client(base_url=self._url, timeout=1.0, trust_env=False)


def read(folder: Path, endpoint: str) -> dict[str, Any]:
    """An endpoint's settings as they stand in its file; empty when it has none that can be read."""
    try:
        found = json.loads((folder / f"{endpoint}.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _offered(folder: Path, endpoint: str, settings: Mapping[str, Any], *, scaled: bool) -> dict[str, Any]:
    before = read(folder, endpoint) if scaled else {}
    return {**settings, **({INSTANCES: before[INSTANCES]} if INSTANCES in before else {})}


def _write(folder: Path, endpoint: str, settings: Mapping[str, Any]) -> None:
    new = folder / f"{endpoint}.new"
    new.write_text(json.dumps(dict(settings)))
    new.replace(folder / f"{endpoint}.json")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, also of other processes."""
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
