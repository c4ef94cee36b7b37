"""The endpoints of a project: staging with its tests, and the one that users call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from configs.hosting import Asynchronous, Capture, Explain, Scaling, Serverless
from configs.quantity import Duration
from configs.rollout import Alarm, Judge, Rollout
from configs.section import Name, Section, Variable


class LatencyBudget(Section):
    """Short load on the staging endpoint and what it may take."""

    p99: Duration = timedelta(milliseconds=250)
    """Longest 99th percentile."""
    requests: int = Field(default=200, ge=1, le=100_000)
    """How many requests are sent."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """How many at a time."""


class Case(Section):
    """A request of the user's own and what must come back."""

    name: str
    """Shown in the report."""
    body: Any
    """The request: text as it stands, anything else as JSON."""
    content_type: str = "application/json"
    """`Content-Type` of the request."""
    status: int = Field(default=200, ge=100, le=599)
    """Status the model must answer with."""
    contains: str | None = None
    """Text that must occur in the answer."""


class EndpointTests(Section):
    """What is asked of the staging endpoint before production."""

    latency: LatencyBudget = LatencyBudget()
    """Budget under a short load."""
    tolerance: float = Field(default=1e-5, gt=0)
    """Largest difference from the predictions recorded in the package."""
    cases: tuple[Case, ...] = ()
    """The user's own."""


class Staging(Section):
    """The endpoint a version must pass before it sees production traffic."""

    endpoint: Name
    """Name of the endpoint."""
    instance_count: int = Field(default=1, ge=1, le=64)
    """Model servers behind it."""
    tests: EndpointTests = EndpointTests()
    """What it must answer."""


class Production(Section):
    """The endpoint that users call."""

    endpoint: Name
    """Name of the endpoint."""
    instance_count: int = Field(default=2, ge=1, le=64)
    """Model servers behind it; a serverless endpoint has one, which starts others itself."""
    approval: bool = False
    """Ask a person a second time, between staging and production."""
    rollout: Rollout
    """How a new version takes over."""
    judge: Judge = Judge()
    """How it is compared with the old one."""
    alarms: tuple[Alarm, ...] = ()
    """Thresholds that roll back on their own."""
    sticky: str = Field(default="", pattern=r"^$|^(header|cookie):\S+$")
    """`header:NAME` or `cookie:NAME` that identifies a client: it keeps its version while weights allow."""
    capture: Capture | None = None
    """Keep requests and answers; nothing is kept without it."""
    explain: Explain | None = None
    """Add attributions to answers; none without it."""
    serverless: Serverless | None = None
    """Model servers on demand, down to none; `instance_count` always on without it."""
    asynchronous: Asynchronous | None = None
    """Take asynchronous calls, and no others."""
    notify: tuple[Variable, ...] = ()
    """Environment variables `env:NAME` that hold Apprise addresses, told of promotions and rollbacks."""

    @property
    def most_instances(self) -> int:
        """The most instances that a version of it ever has."""
        return self.scaling.max_instances if self.scaling else self.instance_count

    @property
    def scaling(self) -> Scaling | None:
        """How the number of instances follows the backlog, if it does."""
        return self.asynchronous.scaling if self.asynchronous else None

    @property
    def serverless_instances(self) -> int:
        """Instances that the file asks for although model servers start on demand; 0 when it says nothing."""
        return self.instance_count if self.serverless and "instance_count" in self.model_fields_set else 0

    @model_validator(mode="after")
    def _scaling_fits(self) -> Self:
        if self.scaling is None:
            return self
        if self.serverless:
            raise ValueError("a serverless endpoint starts model servers itself; remove asynchronous.scaling")
        low, high = max(1, self.scaling.min_instances), self.scaling.max_instances
        if not low <= self.instance_count <= high:
            raise ValueError(
                f"instance_count {self.instance_count} is where scaling begins; set it to {low} to {high}"
            )
        return self
