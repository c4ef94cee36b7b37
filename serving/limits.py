"""What SageMaker's runtime API allows in the headers of a call: one table for everyone who checks it.

The patterns mean the same to Python's `re` and to RE2, which repeats nothing more than 1000 times. A value
must match as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving import contract


@dataclass(frozen=True, slots=True)
class Limit:
    """What one header may hold."""

    pattern: str
    """Regular expression of the whole value."""
    wanted: str
    """The same in words, after "must be"."""


def _printable(most: int) -> Limit:
    rest = r"[\x20-\x7e]"
    more = f"{rest}{{0,{min(most - 1, 1000)}}}" + (f"{rest}{{0,{most - 1001}}}" if most > 1001 else "")
    return Limit(rf"[\x21-\x7e]{more}", f"1 to {most} printable ASCII characters")


def _name(most: int) -> str:
    """Letters and digits, hyphens between them."""
    return f"[a-zA-Z0-9](?:[a-zA-Z0-9-]{{0,{most - 2}}}[a-zA-Z0-9])?"


TEXT = Limit(r"[\t\x20-\x7e]{0,1000}[\t\x20-\x7e]{0,24}", "at most 1024 ASCII characters")
"""Of content types and custom attributes."""

INVOKE = {
    "content-type": TEXT,
    "accept": TEXT,
    contract.STREAM_ACCEPT: TEXT,
    contract.CUSTOM_ATTRIBUTES: TEXT,
    contract.INFERENCE_ID: _printable(64),
    contract.TARGET_MODEL: _printable(1024),
    contract.ENABLE_EXPLANATIONS: _printable(64),
    contract.PREFIX_AWARE_ID: _printable(64),
    contract.SESSION_ID: Limit(
        f"NEW_SESSION|{_name(256)}",
        "NEW_SESSION, or 1 to 256 letters, digits and hyphens with none at an end",
    ),
}
"""By header in lower case, of InvokeEndpoint and InvokeEndpointWithResponseStream."""
