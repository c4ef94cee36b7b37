"""What each child process measures of itself, with nothing but the standard library."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Timing:
    """Seconds and processor seconds of named parts, and the peak memory of the process."""

    def __init__(self) -> None:
        self.folder = Path(sys.argv[1])
        """Where the tables are."""
        self.found: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a part; what imports and reading cost stays outside."""
        start, busy = time.perf_counter(), time.process_time()
        yield
        self.found[f"{name} s"] = time.perf_counter() - start
        self.found[f"{name} cpu s"] = time.process_time() - busy

    def tell(self, **more: Any) -> None:
        """Print the figures as the last line."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**self.found, "peak MiB": peak, **more}), flush=True)


def farthest(distances: Mapping[str, float]) -> list[str]:
    """The three columns of numbers that are farthest from the reference."""
    numbers = [name for name in distances if name.startswith("n")]
    return sorted(sorted(numbers, key=lambda name: -distances[name])[:3])


def figures(facets: Mapping[str, Any]) -> dict[str, float]:
    """Every metric of Clarify's facets by facet, group and name."""
    return {
        f"{facet} {group['value_or_threshold']} {metric['name']}": float(metric["value"])
        for facet, groups in facets.items()
        for group in groups
        for metric in group["metrics"]
        if metric["value"] is not None
    }
