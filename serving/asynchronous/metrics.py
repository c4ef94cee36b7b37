"""What the service counts, under SageMaker's names, as JSON and in Prometheus' text format."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from serving.asynchronous.backlog import Waiting

COUNTERS = (
    "InvocationsProcesssed",
    "InvocationFailures",
    "ExpiredRequests",
    "RequestDownloadFailures",
    "ResponseUploadFailures",
    "NotificationFailures",
)
"""Totals since the start. The first has three s, as SageMaker writes it."""
TIMES = (
    "TimeInBacklog",
    "TotalProcessingTime",
    "ModelLatency",
    "RequestDownloadLatency",
    "ResponseUploadLatency",
)
"""Durations, kept as sum and number. SageMaker gives the first two in ms, the others in µs."""
_UNIT = {"TimeInBacklog": 1e3, "TotalProcessingTime": 1e3}


class Metrics:
    """Totals of every endpoint; one event loop writes and reads them."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTERS, 0))
        self._times: dict[str, dict[str, tuple[float, int]]] = defaultdict(
            lambda: dict.fromkeys(TIMES, (0.0, 0))
        )
        self._stuck: set[str] = set()

    def count(self, endpoint: str, counter: str) -> None:
        """One more."""
        self._counts[endpoint][counter] += 1

    def took(self, endpoint: str, time: str, seconds: float) -> None:
        """One more duration."""
        total, number = self._times[endpoint][time]
        self._times[endpoint][time] = (total + max(seconds, 0.0), number + 1)

    def capacity(self, endpoint: str, *, there: bool) -> None:
        """Whether the last request met an instance."""
        (self._stuck.discard if there else self._stuck.add)(endpoint)

    def gauges(
        self, endpoint: str, waiting: Waiting | None, now: float, instances: int
    ) -> dict[str, float | None]:
        """What autoscaling looks at; a share of no instances is None."""
        size, oldest = (waiting.size, waiting.oldest) if waiting else (0, None)
        return {
            "ApproximateBacklogSize": size,
            "ApproximateBacklogSizePerInstance": size / instances if instances else None,
            "ApproximateAgeOfOldestRequest": round(max(now - oldest, 0.0), 3) if oldest is not None else 0,
            "HasBacklogWithoutCapacity": int(size > 0 and (not instances or endpoint in self._stuck)),
            "RequestsInProcess": waiting.in_process if waiting else 0,
        }

    def report(self, endpoint: str, waiting: Waiting | None, now: float, instances: int) -> dict[str, Any]:
        """Everything about one endpoint; times as averages in SageMaker's units, None before the first."""
        times = {
            name: round(total / number * _UNIT.get(name, 1e6), 3) if number else None
            for name, (total, number) in self._times[endpoint].items()
        }
        return {
            "EndpointName": endpoint,
            **self.gauges(endpoint, waiting, now, instances),
            **self._counts[endpoint],
            **times,
        }

    def text(self, waiting: Mapping[str, Waiting], now: float, instances: Mapping[str, int]) -> str:
        """Everything, for Prometheus. Durations are in seconds, as is the custom there.

        Args:
            waiting: what endpoints have not answered.
            now: seconds since 1970.
            instances: of each endpoint that is asynchronous now.
        """
        endpoints = sorted({*waiting, *instances, *self._counts, *self._times})
        found = {one: self.gauges(one, waiting.get(one), now, instances.get(one, 0)) for one in endpoints}
        return "\n".join([*_gauge_lines(found), *self._total_lines(endpoints), ""])

    def _total_lines(self, endpoints: list[str]) -> Iterator[str]:
        for name in COUNTERS:
            yield f"# TYPE {_snake(name)}_total counter"
            for one in endpoints:
                yield f'{_snake(name)}_total{{endpoint="{one}"}} {self._counts[one][name]}'
        for name in TIMES:
            yield f"# TYPE {_snake(name)}_seconds summary"
            for one in endpoints:
                total, number = self._times[one][name]
                yield f'{_snake(name)}_seconds_sum{{endpoint="{one}"}} {total:.6f}'
                yield f'{_snake(name)}_seconds_count{{endpoint="{one}"}} {number}'


def _gauge_lines(found: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    """By endpoint; what is unknown is left out."""
    for name in next(iter(found.values()), {}):
        yield f"# TYPE {_snake(name)} gauge"
        for endpoint, gauges in found.items():
            if (value := gauges[name]) is not None:
                yield f'{_snake(name)}{{endpoint="{endpoint}"}} {value:g}'


def _snake(name: str) -> str:
    return "seaway_async_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
