"""The `context` that handlers may ask for: what MMS and TorchServe hand to user code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving import contract


@dataclass(slots=True)
class Context:
    """One invocation, as user code may read it and may shape its answer.

    `idx` is there for code written for servers that batch; there is one request at a time, number 0.
    """

    model_dir: Path
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header lines of the request, names in lower case; none while the model is loaded."""
    status: int = 200
    content_type: str = ""
    """Set by user code; empty when it leaves the choice to the answer itself."""
    answer_headers: dict[str, str] = field(default_factory=dict)

    @property
    def system_properties(self) -> dict[str, object]:
        """`model_dir`, and the device: no GPU."""
        return {"model_dir": str(self.model_dir), "gpu_id": None}

    @property
    def model_name(self) -> str:
        """Name of the model's folder."""
        return self.model_dir.name

    @property
    def request_processor(self) -> list[Context]:
        """MMS's place for the request's headers: this object again."""
        return [self]

    def get_request_properties(self) -> dict[str, str]:
        """All header lines of the request."""
        return dict(self.headers)

    def get_all_request_header(self, idx: int = 0) -> dict[str, str]:  # noqa: ARG002 - their signature
        """All header lines of the request."""
        return dict(self.headers)

    def get_request_header(self, idx: int, key: str) -> str | None:  # noqa: ARG002 - their signature
        """One header line of the request; None when there is none."""
        return self.headers.get(key.lower())

    def get_request_id(self, idx: int = 0) -> str:  # noqa: ARG002 - their signature
        """The event id."""
        return self.headers.get(contract.REQUEST_ID, "")

    def set_response_content_type(self, idx: int, value: str) -> None:  # noqa: ARG002 - their signature
        """The answer's content type."""
        self.content_type = value

    def set_response_header(self, idx: int, key: str, value: str) -> None:  # noqa: ARG002 - their signature
        """One header line of the answer."""
        self.answer_headers[key.lower()] = value

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:  # noqa: ARG002
        """The answer's status."""
        self.status = code
