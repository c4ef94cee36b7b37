"""Sticky assignment: which part of the clients each fleet has, and how little of it moves with the weights.

Clients are hashed into `SLOTS` slots. A partition gives every slot to a fleet; a new split leaves as many
slots where they are as it can, so that only the share that must move does. Pure: the gateway's
files remember it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast

SLOTS = 10_000
"""Parts into which clients are hashed; a hundredth of a percent each."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What identifies a client."""

    source: Literal["header", "cookie"]
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """`header:NAME` or `cookie:NAME`; None for an empty text.

        Raises:
            ValueError: anything else.
        """
        if not text:
            return None
        source, _, name = text.partition(":")
        if source not in {"header", "cookie"} or not name.strip():
            raise ValueError(f"sticky is {text!r}; write header:NAME or cookie:NAME")
        return cls(cast("Literal['header', 'cookie']", source), name.strip())


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring slots of one fleet."""

    fleet: str
    slots: int


def sizes(weights: Mapping[str, float], total: int = SLOTS) -> dict[str, int]:
    """Whole parts of `total` in proportion to the weights; the largest remainders are rounded up.

    Raises:
        ValueError: no weight is above zero.
    """
    whole = sum(weights.values())
    if whole <= 0:
        raise ValueError("no variant has a weight above zero; give at least one")
    exact = {name: total * weight / whole for name, weight in weights.items()}
    parts = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def partition(before: tuple[Segment, ...], weights: Mapping[str, float]) -> tuple[Segment, ...]:
    """Slots by fleet for these weights, as near to the partition before as they allow.

    Exactly the sum of all decreases changes hands; a fleet that grows keeps every slot it had.
    """
    wanted = sizes(weights)
    left = dict(wanted)
    kept: list[tuple[str | None, int]] = []
    for segment in before:
        stays = min(segment.slots, left.get(segment.fleet, 0))
        left[segment.fleet] = left.get(segment.fleet, 0) - stays
        kept += [(segment.fleet, stays), (None, segment.slots - stays)]
    if not before:
        kept = [(None, SLOTS)]
    needy = [(fleet, left[fleet]) for fleet in wanted if left[fleet] > 0]
    return _merged(_filled(kept, needy))


def _filled(kept: list[tuple[str | None, int]], needy: list[tuple[str, int]]) -> list[Segment]:
    """Give every free slot to a fleet that still needs some, in order."""
    segments, waiting = [], list(reversed(needy))
    for fleet, slots in kept:
        if fleet is not None:
            segments.append(Segment(fleet, slots))
            continue
        while slots:
            name, needs = waiting.pop()
            taken = min(slots, needs)
            segments.append(Segment(name, taken))
            slots -= taken  # noqa: PLW2901 (what is left of this hole)
            if needs > taken:
                waiting.append((name, needs - taken))
    return segments


def _merged(segments: list[Segment]) -> tuple[Segment, ...]:
    merged: list[Segment] = []
    for segment in segments:
        if not segment.slots:
            continue
        if merged and merged[-1].fleet == segment.fleet:
            merged[-1] = Segment(segment.fleet, merged[-1].slots + segment.slots)
        else:
            merged.append(segment)
    return tuple(merged)
