"""Parts of which routes are made: what a route matches, the headers it sets, and the script it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LUA = "envoy.filters.http.lua"
_TYPES = "type.googleapis.com/envoy"


def match(path: Mapping[str, Any], *headers: dict[str, Any]) -> dict[str, Any]:
    """The path's own conditions, and further headers."""
    return {**path, "headers": [*path.get("headers", ()), *headers]}


def of_value(name: str, value: str) -> dict[str, Any]:
    """A header of exactly this value."""
    return {"name": name, "string_match": {"exact": value}}


def header(key: str, value: str) -> dict[str, Any]:
    """Set a header, whatever it was."""
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def script(name: str, about: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The script of `deploy.lua.LUA` that sees the requests, and what it may look up about them."""
    looked_up = {"metadata": {"filter_metadata": {_LUA: dict(about)}}} if about else {}
    return {**looked_up, "typed_per_filter_config": {_LUA: _chosen(name=name)}}


def plain(*, unbuffered: bool = False) -> dict[str, Any]:
    """No script shapes the answer; with `unbuffered` no body waits until it is complete either."""
    package = f"{_TYPES}.extensions.filters.http"
    buffer = {"envoy.filters.http.buffer": {"@type": f"{package}.buffer.v3.BufferPerRoute", "disabled": True}}
    return {
        "typed_per_filter_config": {_LUA: _chosen(disabled=True)} | (buffer if unbuffered else {}),
    }


def _chosen(**choice: object) -> dict[str, Any]:
    return {"@type": f"{_TYPES}.extensions.filters.http.lua.v3.LuaPerRoute", **choice}
