"""What two versions have noted of the same events, brought together by event id while both streams go by."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

HORIZON = 300.0
"""Seconds that an event waits for its other side: longer than any request takes, its retries included."""


class Event(Protocol):
    """Something with an event id."""

    @property
    def event_id(self) -> str:
        """The same on both sides."""
        ...


T = TypeVar("T", bound=Event)


@dataclass(frozen=True, slots=True)
class Met(Generic[T]):
    """One event; None where a side knows nothing of it, never on both."""

    event_id: str
    champion: T | None
    candidate: T | None


def meet(
    champion: Iterable[T], candidate: Iterable[T], when: Callable[[T], float], *, horizon: float = HORIZON
) -> Iterator[Met[T]]:
    """Every event once, by the time it was first seen.

    What a side says of an event more than once, as of a request that was tried again, counts by the last
    word. Memory holds the events of one horizon. An id that comes again after the horizon is another event.

    Args:
        champion: in order of time.
        candidate: in order of time.
        when: the time of an event in seconds, of both sides by the same clock.
        horizon: seconds that an event waits for its other side.
    """
    waiting: dict[str, tuple[float, list[T | None]]] = {}
    sides = (_timed(champion, 0, when), _timed(candidate, 1, when))
    for at, side, one in heapq.merge(*sides, key=lambda entry: entry[0]):
        while waiting and at - next(iter(waiting.values()))[0] > horizon:
            yield _gone(waiting)
        _, both = waiting.setdefault(one.event_id, (at, [None, None]))
        both[side] = one
    while waiting:
        yield _gone(waiting)


def _timed(stream: Iterable[T], side: int, when: Callable[[T], float]) -> Iterator[tuple[float, int, T]]:
    for one in stream:
        yield when(one), side, one


def _gone(waiting: dict[str, tuple[float, list[T | None]]]) -> Met[T]:
    """Take the one that has waited longest."""
    event_id = next(iter(waiting))
    _, both = waiting.pop(event_id)
    return Met(event_id, both[0], both[1])
