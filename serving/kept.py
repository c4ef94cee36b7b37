"""What is remembered for capture of a request and an answer that go by in parts."""

from __future__ import annotations

from collections.abc import Mapping

from serving import contract
from serving.capture import Exchange, Outcome


class Kept:
    """The bytes of one exchange.

    Args:
        wanted: whether it is captured at all.
        limit: bytes of one direction from which on it is given up.
    """

    def __init__(self, *, wanted: bool, limit: int) -> None:
        self.wanted = wanted
        self.too_long = False
        self._limit = limit
        self._parts: tuple[list[bytes], list[bytes]] = ([], [])
        self._sizes = [0, 0]

    def sent(self, part: bytes) -> bytes:
        """Remember a part of the request and return it."""
        return self._keep(0, part)

    def answered(self, part: bytes) -> bytes:
        """Remember a part of the answer and return it."""
        return self._keep(1, part)

    def exchange(
        self, came: float, headers: Mapping[str, str], answer_type: str, outcome: Outcome
    ) -> Exchange:
        """What was remembered, with what the request's header lines say about it; of a failure no bodies."""
        failed = not 200 <= outcome.status < 300
        if failed:
            self._parts = ([], [])
        return Exchange(
            event_id=headers.get(contract.REQUEST_ID, ""),
            at=came,
            content_type=headers.get("content-type", ""),
            body=b"".join(self._parts[0]),
            answer_content_type=answer_type,
            answer_body=b"".join(self._parts[1]),
            inference_id=headers.get(contract.INFERENCE_ID, ""),
            custom_attributes=headers.get(contract.CUSTOM_ATTRIBUTES, ""),
            outcome=outcome,
            missing="failed" if failed else "too long" if self.too_long else None,
        )

    def _keep(self, side: int, part: bytes) -> bytes:
        if self.wanted and not self.too_long:
            self._sizes[side] += len(part)
            self.too_long = self._sizes[side] > self._limit
            if self.too_long:
                self._parts = ([], [])
            else:
                self._parts[side].append(part)
        return part
