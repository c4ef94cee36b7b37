"""What stands between HTTP and a model: request values in, response values out.

Whatever can answer `/invocations` is a responder: one model, a user's handlers, a chain of stages, a set of
models behind one server. The HTTP server, the sidecar and batch transform know this interface, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `/invocations`."""

    body: bytes
    content_type: str = ""
    """As the client sent it; empty when it sent none."""
    accept: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All header lines, names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Further header lines, names in lower case."""
    stream: Iterator[bytes] | None = None
    """Parts that are sent one by one instead of `body`, as soon as each is made."""


class Responder(Protocol):
    """Answers requests. Called from one thread at a time per instance of the server."""

    def respond(self, request: Request) -> Answer:
        """The response.

        Raises:
            serving.errors.ServingError: there is no answer; its `status` and message go to the caller.
        """
        ...

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """Body of `GET /execution-parameters`: MaxConcurrentTransforms, BatchStrategy, MaxPayloadInMB."""
        ...
