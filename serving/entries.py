"""Settings as one JSON object in an environment variable, read strictly: each entry has its check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from serving.errors import ServingError

Check = Callable[[str, Any], Any]
"""Gives the value of an entry, by the entry's name and what was written; raises when that will not do."""


def entries(
    variable: str, text: str, checks: Mapping[str, Check], error: type[ServingError]
) -> dict[str, Any]:
    """The entries that the object has, each through its check.

    Args:
        variable: its name, for messages.
        text: its value.
        checks: by entry; no others are known.
        error: what is raised.

    Raises:
        ServingError: of the class `error`: the text is no such object; the message names the entry at fault.
    """
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise error(f"{variable} is no JSON: {problem}") from problem
    if not isinstance(content, dict):
        raise error(f"{variable} must be a JSON object")
    if unknown := sorted(set(content) - set(checks)):
        raise error(f"{variable} has no entry {unknown[0]!r}; known are {', '.join(checks)}")
    return {name: checks[name](name, value) for name, value in content.items()}
