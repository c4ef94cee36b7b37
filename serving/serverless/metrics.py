"""Counters of one activator, in SageMaker's names, as Prometheus text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Counters:
    """What happened since the start; durations in microseconds."""

    Invocations: int = 0
    """Requests that were answered, refused ones left out."""
    Invocation4XXErrors: int = 0
    """Answers with a 4xx status, refusals left out."""
    Invocation5XXErrors: int = 0
    """Answers with a 5xx status."""
    InvocationModelErrors: int = 0
    """Answers of the model that were not 2xx, and requests it did not answer."""
    Throttles: int = 0
    """Requests refused because there were too many at once."""
    ColdStarts: int = 0
    """Requests that waited for a model server to start."""
    Starts: int = 0
    """Model servers that became ready, provisioned ones included."""
    StartFailures: int = 0
    """Model servers that ended, or ran out of time, before they were ready."""
    MemoryLimitKills: int = 0
    """Model servers killed because they needed too much memory."""
    ServerlessProvisionedConcurrencyInvocations: int = 0
    """Requests that came while provisioned capacity was free."""
    ServerlessProvisionedConcurrencySpilloverInvocations: int = 0
    """Requests that came while it was not."""


@dataclass(slots=True)
class Summary:
    """Durations in microseconds."""

    sum: int = 0
    count: int = 0
    maximum: int = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        value = round(seconds * 1e6)
        self.sum, self.count, self.maximum = self.sum + value, self.count + 1, max(self.maximum, value)


@dataclass(frozen=True, slots=True)
class Gauges:
    """How things are now."""

    in_flight: int
    """Requests waiting or being answered."""
    most: int
    """Largest number of them."""
    provisioned: int
    servers: int
    """Model servers, in whatever phase."""
    memory: float
    """Percent of its memory that the largest model server uses; 0 without one."""

    def values(self) -> Mapping[str, float]:
        """By name; percentages are 0 to 100, `…Utilization` of concurrency 0 to 1."""
        kept = min(self.in_flight, self.provisioned)
        return {
            "ModelServers": self.servers,
            "MaxConcurrency": self.most,
            "ProvisionedConcurrency": self.provisioned,
            "MemoryUtilization": self.memory,
            "ServerlessConcurrentExecutionsUtilization": self.in_flight / self.most,
            "ServerlessProvisionedConcurrencyExecutions": kept,
            "ServerlessProvisionedConcurrencyUtilization": kept / self.provisioned if self.provisioned else 0,
        }


@dataclass(slots=True)
class Metrics:
    """All of one activator."""

    counters: Counters = field(default_factory=Counters)
    setup: Summary = field(default_factory=Summary)
    """Time from the start of a model server until it was ready, of those that a request waited for."""
    latency: Summary = field(default_factory=Summary)
    """Time the model server took."""
    overhead: Summary = field(default_factory=Summary)
    """The rest of the time between a request and its answer, cold starts included."""

    def answered(self, status: int, seconds: float, model_seconds: float | None) -> None:
        """Count a request that was not refused; `model_seconds` is None when no model server gave it."""
        self.counters.Invocations += 1
        self.counters.Invocation4XXErrors += 400 <= status < 500
        self.counters.Invocation5XXErrors += status >= 500
        if model_seconds is not None:
            self.counters.InvocationModelErrors += not 200 <= status < 300
            self.latency.add(model_seconds)
            self.overhead.add(seconds - model_seconds)

    def text(self, gauges: Gauges, labels: Mapping[str, str]) -> str:
        """Prometheus exposition text."""
        marks = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
        shown = f"{{{marks}}}" if marks else ""
        return "".join(line + "\n" for line in self._lines(gauges, shown))

    def _lines(self, gauges: Gauges, shown: str) -> Iterator[str]:
        for one in fields(self.counters):
            yield from _metric(f"{one.name}_total", "counter", shown, getattr(self.counters, one.name))
        for name, summary in (
            ("ModelSetupTime", self.setup),
            ("ModelLatency", self.latency),
            ("OverheadLatency", self.overhead),
        ):
            yield f"# TYPE {name}_microseconds summary"
            yield f"{name}_microseconds_sum{shown} {summary.sum}"
            yield f"{name}_microseconds_count{shown} {summary.count}"
            yield from _metric(f"{name}_microseconds_max", "gauge", shown, summary.maximum)
        for name, value in gauges.values().items():
            yield from _metric(name, "gauge", shown, value)


def _metric(name: str, kind: str, shown: str, value: float) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    yield f"{name}{shown} {value:.10g}"


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
