"""How much memory processes take, from `/proc`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def proportional_bytes(pid: int) -> int:
    """Memory of one process and its descendants; a page shared by n processes counts for one n-th in each.

    A process that ends meanwhile, or that we may not look at, counts as nothing.
    """
    return sum(_own(process) for process in (pid, *descendants(pid)))


def descendants(pid: int) -> tuple[int, ...]:
    """Children, their children and so on."""
    children = tuple(_children(pid))
    return children + tuple(below for child in children for below in descendants(child))


def _children(pid: int) -> Iterable[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, task.read_text().split())
        except OSError:
            continue


def _own(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    pss = next((line for line in rollup.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(pss.split()[1]) * 1024
