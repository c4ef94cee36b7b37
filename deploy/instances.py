"""What a target remembers of a fleet between two looks: its instances, their ports, ends and drains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from deploy.port import Fleet

UNSEEN = -1
"""Process id of an instance that was never looked at."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts to revive an instance that fails again and again."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One model server of a fleet."""

    port: int = 0
    """Where it answers; 0 while that is not known."""
    pid: int = UNSEEN
    """Process at the last look; 0 when it was down."""
    crashes: int = 0
    """Times it ended by itself."""
    revivals: int = 0
    """Times it was started again after the supervisor had given up."""
    draining_since: float | None = None
    """Seconds since the epoch; set when it gets no new requests."""
    slot: int = 0
    """Its number in the fleet, where every start brings another port; 0 where the port identifies it."""
    answered: bool = False
    """It was healthy since its last start; only noted where starts are timed."""
    ended: str = ""
    """Why it last ended by itself, in words; only noted where that is known."""

    @property
    def key(self) -> int:
        """What identifies it in its fleet."""
        return self.slot or self.port

    def looked_at(self, state: str, pid: int) -> Self:
        """The instance after a look at its process: down, or replaced by another, counts as one crash."""
        if state in {"BACKOFF", "FATAL", "EXITED"}:
            return replace(self, pid=0, crashes=self.crashes + (self.pid != 0))
        replaced = pid and self.pid > 0 and pid != self.pid
        return replace(self, pid=pid or UNSEEN, crashes=self.crashes + bool(replaced))

    @property
    def pause(self) -> float:
        """Seconds to wait before the next revival: 1, 2, 4 ... `LONGEST_PAUSE`."""
        return min(LONGEST_PAUSE, 2.0 ** min(self.revivals, 10))


@dataclass(frozen=True, slots=True)
class Record:
    """A fleet with its instances."""

    fleet: Fleet
    instances: tuple[Instance, ...] = ()
    stopping_since: float | None = None
    """Seconds since the epoch; set when the fleet is to end."""
    removed: bool = False
    """The gateway has been told to forget the fleet."""
    supervisor: int = 0
    """Process id of the supervisor at the last look."""

    @property
    def serving(self) -> tuple[Instance, ...]:
        """Instances that may get requests."""
        return tuple(instance for instance in self.instances if instance.draining_since is None)

    @property
    def draining(self) -> tuple[Instance, ...]:
        """Instances that finish what they have."""
        return tuple(instance for instance in self.instances if instance.draining_since is not None)

    @property
    def crashes(self) -> int:
        """Of all instances."""
        return sum(instance.crashes for instance in self.instances)

    def wanting(self, fleet: Fleet, now: float, new: Callable[[], Instance]) -> Self:
        """The record with the wanted count: the newest drain first, and those come back before new ones."""
        instances = list(self.instances)
        while len(serving := _live(instances)) > fleet.instance_count:
            instances[serving[-1]] = replace(instances[serving[-1]], draining_since=now)
        while len(_live(instances)) < fleet.instance_count:
            back = next((i for i, one in enumerate(instances) if one.draining_since is not None), None)
            if back is None:
                instances.append(new())
            else:
                instances[back] = replace(instances[back], draining_since=None)
        return replace(self, fleet=fleet, instances=tuple(instances), stopping_since=None, removed=False)

    def under(self, supervisor: int, pid: int = UNSEEN) -> Self:
        """The record at a look under this supervisor; one that restarted replaced every process.

        Args:
            supervisor: its process id.
            pid: 0 when it ended the processes and does not start them again.
        """
        if supervisor == self.supervisor:
            return self
        fresh = tuple(replace(one, pid=pid) for one in self.instances)
        return replace(self, supervisor=supervisor, instances=fresh)

    def without(self, key: int) -> Self:
        """The record after an instance is gone."""
        return replace(self, instances=tuple(one for one in self.instances if one.key != key))

    def with_instance(self, changed: Instance, *, key: int | None = None) -> Self:
        """The record with one instance replaced, found by its key or the `key` it had before."""
        old = changed.key if key is None else key
        return replace(self, instances=tuple(changed if one.key == old else one for one in self.instances))

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back to the same value."""
        content = asdict(self)
        content["fleet"]["package"] = str(self.fleet.package)
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The record that `to_json` wrote."""
        fleet = content["fleet"]
        variables = tuple((name, value) for name, value in fleet.get("environment", ()))
        return cls(
            fleet=Fleet(**{**fleet, "package": Path(fleet["package"]), "environment": variables}),
            instances=tuple(Instance(**one) for one in content["instances"]),
            stopping_since=content["stopping_since"],
            removed=content["removed"],
            supervisor=content.get("supervisor", 0),
        )


def _live(instances: list[Instance]) -> list[int]:
    return [i for i, one in enumerate(instances) if one.draining_since is None]
