"""What `SEAWAY_SERVERLESS` asks for, as one checked value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import orjson

from serving import contract
from serving.environment import EnvironmentInvalid, flag, wanted
from serving.serverless import VARIABLE

MOST_CONCURRENCY = 200
LEAST_MEMORY = 128
"""MiB below which not even the runtime of a model fits."""


@dataclass(frozen=True, slots=True)
class Serverless:
    """How an endpoint scales; the first three are SageMaker's `ServerlessConfig`."""

    memory_size_in_mb: int
    """Memory of one model server, MiB."""
    max_concurrency: int
    """Requests answered at once, each by a model server of its own; more are refused."""
    provisioned_concurrency: int = 0
    """Model servers that are kept running."""
    idle_seconds: float = 300.0
    """Time without a request after which a model server beyond the provisioned ones ends."""
    start_seconds: float = 180.0
    """Time a model server has until it is ready."""
    invocation_seconds: float = 60.0
    """Time the model has for a request; the container's own limit when not given."""
    max_request_mb: float = 4.0
    """Largest request body, MiB."""
    max_response_mb: float = 4.0
    """Largest answer, MiB."""
    changes: str = ""
    """Folder in which `{endpoint}.{variant}.json` gives other limits of concurrency while it runs."""


def read(environ: Mapping[str, str]) -> Serverless:
    """The settings in the variable.

    Raises:
        EnvironmentInvalid: they are no JSON object, or one of them has an unusable value.
    """
    try:
        given = orjson.loads(environ[VARIABLE])
    except orjson.JSONDecodeError as error:
        raise EnvironmentInvalid(f"{VARIABLE} is not JSON ({error}); set it to a JSON object") from error
    if not isinstance(given, dict):
        raise EnvironmentInvalid(f"{VARIABLE} is no JSON object; set it to one")
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := given.keys() - {field.name for field in fields(Serverless)}:
        raise EnvironmentInvalid(f"{VARIABLE} has the unknown entry {min(unknown)}; remove it")
    if flag(environ, contract.MULTI_MODEL):
        raise EnvironmentInvalid(
            f"a serverless endpoint serves one model; remove {contract.MULTI_MODEL} or {VARIABLE}"
        )
    most = _whole(given, "max_concurrency", 1, MOST_CONCURRENCY)
    numbers = {name: _positive(given, name) for name in _NUMBERS if name in given}
    return Serverless(
        memory_size_in_mb=_whole(given, "memory_size_in_mb", LEAST_MEMORY, 1024 * 1024),
        max_concurrency=most,
        provisioned_concurrency=_whole({"provisioned_concurrency": 0, **given}, _KEPT, 0, most),
        changes=_text(given, "changes"),
        **{"invocation_seconds": wanted(environ, 1).timeout, **numbers},
    )


def changed(asked: Serverless, content: bytes) -> Serverless:
    """The settings with the limits of concurrency in a file; those it does not name stay.

    Raises:
        EnvironmentInvalid: it is no JSON object, or one of them has an unusable value.
    """
    try:
        given = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise EnvironmentInvalid(f"the new limits are not JSON ({error}); write a JSON object") from error
    if not isinstance(given, dict) or (given.keys() - {"max_concurrency", _KEPT}):
        raise EnvironmentInvalid(
            f"the new limits must be an object of max_concurrency and {_KEPT}, nothing else"
        )
    found = {"max_concurrency": asked.max_concurrency, _KEPT: asked.provisioned_concurrency, **given}
    most = _whole(found, "max_concurrency", 1, MOST_CONCURRENCY)
    return replace(asked, max_concurrency=most, provisioned_concurrency=_whole(found, _KEPT, 0, most))


_KEPT = "provisioned_concurrency"
_NUMBERS = ("idle_seconds", "start_seconds", "invocation_seconds", "max_request_mb", "max_response_mb")


def _whole(given: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise EnvironmentInvalid(
            f"{name} in {VARIABLE} is {value!r}; set it to a whole number from {least} to {most}"
        )
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise EnvironmentInvalid(f"{name} in {VARIABLE} is {value!r}; set it to a folder")
    return value


def _positive(given: Mapping[str, Any], name: str) -> float:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise EnvironmentInvalid(f"{name} in {VARIABLE} is {value!r}; set it to a positive number")
    return float(value)
