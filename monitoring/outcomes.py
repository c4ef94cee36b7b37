"""How the same requests went at two versions: who failed on which, and how long both took. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from monitoring.discordance import sign_test


class Ended(Protocol):
    """A request that came to its end."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def failed(self) -> bool:
        """There is no prediction."""
        ...

    @property
    def milliseconds(self) -> float | None:
        """How long it took; None where nobody measured."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request went at one version, without what was answered."""

    event_id: str
    at: float
    """When it came, in seconds since the epoch."""
    status: int
    milliseconds: float | None = None
    """How long the model took; None where it was not asked."""

    @property
    def failed(self) -> bool:
        """There is no prediction."""
        return not 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Statuses:
    """Requests that ended alike: the status of the champion's answer, and of the candidate's."""

    champion: int
    candidate: int
    requests: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Requests whose outcome was written down; errors and latency are theirs then."""

    pairs: int
    """On both sides."""
    only_champion: int
    """On the champion's side alone: not mirrored, or not recorded."""
    only_candidate: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Who failed on which requests, over pairs."""

    neither: int
    only_champion: int
    only_candidate: int
    both: int
    p: float
    """Exact McNemar test on the two in the middle."""
    statuses: tuple[Statuses, ...]
    """The same requests by status, the most frequent first."""


class Went:
    """Counts how requests went while they come by."""

    def __init__(self) -> None:
        self._statuses: Counter[tuple[int, int]] = Counter()
        self._failed: Counter[tuple[bool, bool]] = Counter()
        self._alone: Counter[str] = Counter()
        self.times = (array("d"), array("d"))
        """Milliseconds of both sides, where both have answered."""

    def add(self, ours: Ended | None, theirs: Ended | None) -> None:
        """One more request; None where a side knows nothing of it."""
        if ours is None or theirs is None:
            self._alone["candidate" if ours is None else "champion"] += 1
            return
        self._statuses[ours.status, theirs.status] += 1
        self._failed[ours.failed, theirs.failed] += 1
        if ours.failed or theirs.failed or ours.milliseconds is None or theirs.milliseconds is None:
            return
        self.times[0].append(ours.milliseconds)
        self.times[1].append(theirs.milliseconds)

    def errors(self) -> Errors:
        """Who failed on which requests."""
        failed = self._failed
        return Errors(
            neither=failed[False, False],
            only_champion=failed[True, False],
            only_candidate=failed[False, True],
            both=failed[True, True],
            p=sign_test(failed[False, True], failed[True, False]),
            statuses=tuple(Statuses(*both, requests) for both, requests in self._statuses.most_common()),
        )

    def noted(self) -> Noted | None:
        """How many there were; None without any."""
        pairs, alone = self._failed.total(), self._alone
        return Noted(pairs, alone["champion"], alone["candidate"]) if pairs or alone else None
