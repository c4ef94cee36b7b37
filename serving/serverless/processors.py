"""How much of the machine's processors a model server gets: it follows its memory, as SageMaker's does.

SageMaker says only that the share grows with the memory size; underneath is Lambda, whose documentation gives
the figure used here. A process may be kept to some processors and asked to stand back, which needs no rights;
so whole processors are a limit, and a fraction of one counts while others want it, too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from dataclasses import dataclass

MB_PER_PROCESSOR = 1769
"""Memory that comes with one processor."""
_NICE_STEP = 1.25
"""By this factor the kernel's share of a process falls with each step of niceness."""
_NICEST = 19


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process may run, and how far it stands back."""

    processors: frozenset[int]
    """Numbers of the processors it may use."""
    nice: int
    """Steps below what it would have."""


def share(memory_mb: int) -> float:
    """Processors that come with so much memory: 0.58 with 1024 MB, 3.47 with 6144 MB."""
    return memory_mb / MB_PER_PROCESSOR


def place(wanted: float, there: Collection[int], turn: int) -> Place:
    """A place for a process with so many processors.

    Args:
        wanted: its share; a fraction above one is rounded up.
        there: numbers of the processors that may be used at all.
        turn: spreads processes; those with successive numbers get different processors.
    """
    ordered = sorted(there)
    count = min(math.ceil(wanted), len(ordered))
    chosen = (ordered[(turn * count + one) % len(ordered)] for one in range(count))
    nice = round(-math.log(wanted, _NICE_STEP)) if wanted < 1 else 0
    return Place(frozenset(chosen), min(nice, _NICEST))


def threads(wanted: float) -> int:
    """How many threads numeric libraries start for it."""
    return max(1, int(wanted))


def take(found: Place) -> None:
    """Put this process there; its threads and children follow."""
    os.sched_setaffinity(0, found.processors)
    os.nice(found.nice)
