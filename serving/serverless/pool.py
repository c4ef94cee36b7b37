"""Which model servers shall run, and which request goes to which: decisions, without doing anything.

`Pool` is told what happened and when, and answers with what to do. A model server is STARTING until it is
ready, then IDLE or BUSY with one request, and ENDING from the decision to end it until its process is gone:

    STARTING -> IDLE <-> BUSY      any of them -> ENDING -> gone      any of them -> gone (it crashed)

A request that finds no idle server waits, and a server is started for it. Whichever server is free first
takes the request that has waited longest. Requests that wait and requests that are answered together never
exceed `most`; what comes beyond is refused at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto

ATTEMPTS = 3
"""Failed starts in a row after which those who wait are told."""
LONGEST_PAUSE = 60.0
"""Seconds at most between attempts to start a provisioned server that will not start."""


class Phase(Enum):
    """Where a model server is in its life."""

    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    ENDING = auto()


@dataclass(frozen=True, slots=True)
class Server:
    """One model server, as far as decisions need it."""

    id: int
    phase: Phase
    since: float
    """When the phase began."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a model server."""

    server: int
    waited_for: bool
    """A request waits for it; else it is provisioned."""


@dataclass(frozen=True, slots=True)
class Assign:
    """Give the request to the server."""

    request: int
    server: int
    cold: bool
    """The request has waited for just this server to start."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer that there are too many requests."""

    request: int


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer that no model server could be started."""

    request: int


@dataclass(frozen=True, slots=True)
class End:
    """End a model server."""

    server: int


Action = Start | Assign | Refuse | Fail | End


class Pool:
    """The model servers of one endpoint.

    Args:
        most: servers, and requests waiting or being answered, at any time.
        kept: servers that stay although nobody asks.
        idle: seconds after which a server beyond `kept` ends.
    """

    def __init__(self, most: int, kept: int, idle: float) -> None:
        self._most, self._kept, self._idle = most, kept, idle
        self._servers: dict[int, Server] = {}
        self._waiting: deque[int] = deque()
        self._next = 1
        self._failures = 0
        self._not_before = float("-inf")

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, oldest first."""
        return tuple(self._servers.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for a server."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Requests that are being answered."""
        return self._count(Phase.BUSY)

    # ---- what happened ------------------------------------------------------------------------------------

    def arrive(self, request: int, now: float) -> list[Action]:
        """A request came."""
        if self.busy + len(self._waiting) >= self._most:
            return [Refuse(request)]
        self._waiting.append(request)
        return self._settle(now)

    def leave(self, request: int, now: float) -> list[Action]:
        """A request waits no longer."""
        if request in self._waiting:
            self._waiting.remove(request)
        return self._settle(now)

    def ready(self, server: int, now: float) -> list[Action]:
        """A server that was starting takes requests."""
        if self._servers[server].phase is not Phase.STARTING:
            return []
        self._failures = 0
        self._become(server, Phase.IDLE, now)
        return self._settle(now, started=server)

    def done(self, server: int, now: float) -> list[Action]:
        """A server has answered, and can take the next request."""
        known = self._servers.get(server)
        if known is None or known.phase is not Phase.BUSY:
            return []
        self._become(server, Phase.IDLE, now)
        return self._settle(now)

    def spoiled(self, server: int, now: float) -> list[Action]:
        """A server must not be used any more, whatever it does."""
        known = self._servers.get(server)
        if known is None or known.phase is Phase.ENDING:
            return []
        return [*self._end(known, now), *self._settle(now)]

    def gone(self, server: int, now: float) -> list[Action]:
        """A server's process has ended; the request it had fails by itself, for its connection broke."""
        phase = self._servers.pop(server).phase
        if phase in {Phase.STARTING, Phase.IDLE}:
            self._failures += phase is Phase.STARTING
            self._not_before = now + min(LONGEST_PAUSE, 2.0 ** min(self._failures, 10))
        failed: list[Action] = []
        if phase is Phase.STARTING and self._failures >= ATTEMPTS:
            while len(self._waiting) > self._count(Phase.STARTING):
                failed.append(Fail(self._waiting.popleft()))
        return [*failed, *self._settle(now)]

    def close(self, now: float) -> list[Action]:
        """No more requests will come: keep no server beyond those that are needed to answer what came."""
        self._kept, self._idle = 0, 0.0
        return self._settle(now)

    def resize(self, most: int, kept: int, now: float) -> list[Action]:
        """Other limits hold from now on; what was begun or waits is answered all the same."""
        self._most, self._kept = most, kept
        return self._settle(now)

    def look(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._settle(now)

    def next_look(self) -> float | None:
        """When `look` will have something to do, if nothing happens before."""
        usable, idle = (
            self._usable(),
            [one.since for one in self._servers.values() if one.phase is Phase.IDLE],
        )
        if usable < self._kept:
            return self._not_before if len(self._servers) < self._most else None
        return min(idle) + self._idle if idle and usable > self._kept else None

    # ---- what follows -------------------------------------------------------------------------------------

    def _settle(self, now: float, started: int | None = None) -> list[Action]:
        return [*self._assignments(now, started), *self._starts(now), *self._ends(now)]

    def _assignments(self, now: float, started: int | None) -> list[Action]:
        """Give those who wait longest the servers used last: what is rarely used then ends."""
        idle = self._idle_ones() if self._waiting else []
        made: list[Action] = []
        while idle and self._waiting:
            server = idle.pop().id
            self._become(server, Phase.BUSY, now)
            made.append(Assign(self._waiting.popleft(), server, cold=server == started))
        return made

    def _starts(self, now: float) -> list[Action]:
        demanded = len(self._waiting) - self._count(Phase.STARTING)
        lacking = self._kept - self._usable() if now >= self._not_before else 0
        room = self._most - len(self._servers)
        made: list[Action] = []
        for number in range(min(room, max(demanded, lacking))):
            server, self._next = self._next, self._next + 1
            self._servers[server] = Server(server, Phase.STARTING, now)
            made.append(Start(server, waited_for=number < demanded))
        return made

    def _ends(self, now: float) -> list[Action]:
        usable, idle = self._usable(), self._idle_ones()
        surplus, excess = usable - self._kept, usable - self._most
        due = [one for n, one in enumerate(idle) if n < excess or now - one.since >= self._idle]
        return [action for one in due[: max(0, surplus)] for action in self._end(one, now)]

    def _end(self, server: Server, now: float) -> list[Action]:
        self._become(server.id, Phase.ENDING, now)
        return [End(server.id)]

    def _become(self, server: int, phase: Phase, now: float) -> None:
        self._servers[server] = replace(self._servers[server], phase=phase, since=now)

    def _idle_ones(self) -> list[Server]:
        """Those without a request, longest idle first."""
        idle = (one for one in self._servers.values() if one.phase is Phase.IDLE)
        return sorted(idle, key=lambda one: one.since)

    def _count(self, phase: Phase) -> int:
        return sum(one.phase is phase for one in self._servers.values())

    def _usable(self) -> int:
        return sum(one.phase is not Phase.ENDING for one in self._servers.values())
