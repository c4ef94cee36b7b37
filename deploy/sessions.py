"""Sessions of stateful models: all requests of one go to the instance that opened it.

A model opens a session by the header `X-Amzn-SageMaker-New-Session-Id: ID; Expires=TIME` of an answer. The
gateway writes behind the id where that instance is, `ID-p8123-1a2b3c4d`: its port, and a short hash of its
fleet. A later request leads there by its id alone, so the gateway's processes remember nothing, and a session
stays with its version while a rollout moves the others. The model sees its own id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from deploy.parts import header
from serving.contract import CLOSED_SESSION_ID, NEW_SESSION_ID, SESSION_ID

LONGEST_ID = 256
"""Characters that the API allows; a longer id is passed on as the model gave it, and does not stick."""

_PLACE, _HOST = "x-seaway-session-place", "x-seaway-session-host"
"""Inside the gateway: where the answer comes from, and to which instance a request must go."""
_TYPES = "type.googleapis.com/envoy"
_SCRIPT = """
-- An id as clients hold it: the model's own, the port, and the fleet.
local HELD = '^(.+)%-p(%d+)%-(%x%x%x%x%x%x%x%x)$'

function envoy_on_request(handle)
  local headers = handle:headers()
  local id, port = headers:get('SESSION'):match(HELD)
  headers:remove('HOST')
  if not id then return end
  headers:replace('SESSION', id)
  headers:add('HOST', handle:base64Escape('127.0.0.1:' .. port))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local place = headers:get('PLACE') or ''
  headers:remove('PLACE')
  headers:remove('HOST')
  if not place:match('^p%d+%-%x+$') then return end
  for _, name in ipairs({'OPENED', 'CLOSED'}) do
    local id, rest = (headers:get(name) or ''):match('^%s*([^%s;]+)(.*)$')
    if id and #id + #place < LONGEST then headers:replace(name, id .. '-' .. place .. rest) end
  end
end
"""
_NAMES = {
    "SESSION": SESSION_ID,
    "OPENED": NEW_SESSION_ID,
    "CLOSED": CLOSED_SESSION_ID,
    "PLACE": _PLACE,
    "HOST": _HOST,
    "LONGEST": str(LONGEST_ID),
}
_SCRIPTED, _LED = "seaway.sessions", "envoy.filters.http.stateful_session"


def filters() -> list[dict[str, Any]]:
    """The filters that only routes of sessions switch on."""
    source = _SCRIPT
    for name, value in _NAMES.items():
        source = source.replace(name, value)
    package = f"{_TYPES}.extensions"
    state = {
        "name": "envoy.http.stateful_session.header",
        "typed_config": {
            "@type": f"{package}.http.stateful_session.header.v3.HeaderBasedSessionState",
            "name": _HOST,
        },
    }
    configured = {
        _SCRIPTED: {
            "@type": f"{package}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": source},
            "clear_route_cache": False,  # the route was found by the id as the client holds it
        },
        _LED: {
            "@type": f"{package}.filters.http.stateful_session.v3.StatefulSession",
            "session_state": state,
        },
    }
    return [{"name": name, "disabled": True, "typed_config": told} for name, told in configured.items()]


def opened_by(fleet: str) -> dict[str, Any]:
    """The condition that a request belongs to a session which an instance of this fleet opened."""
    return {"name": SESSION_ID, "string_match": {"suffix": f"-{_short(fleet)}"}}


def any_session() -> dict[str, Any]:
    """The condition that a request belongs to a session, or opens one."""
    return {"name": SESSION_ID, "present_match": True}


def kept(route: Mapping[str, Any], condition: Mapping[str, Any]) -> dict[str, Any]:
    """The same route for requests of sessions: they go to where their id says.

    Args:
        route: a route to weighted clusters.
        condition: which sessions; see `opened_by` and `any_session`.
    """
    action = route["route"]
    split = action["weighted_clusters"]
    clusters = [
        {
            **part,
            "response_headers_to_add": [*part.get("response_headers_to_add", ()), _placed(part["name"])],
        }
        for part in split["clusters"]
    ]
    switched_on = {"@type": f"{_TYPES}.config.route.v3.FilterConfig", "config": {}}
    return {
        **route,
        "match": {**route["match"], "headers": [condition, *route["match"].get("headers", ())]},
        "route": {**action, "weighted_clusters": {**split, "clusters": clusters}},
        "request_headers_to_remove": [*route.get("request_headers_to_remove", ()), _HOST],
        "typed_per_filter_config": {
            **route.get("typed_per_filter_config", {}),
            **dict.fromkeys((_SCRIPTED, _LED), switched_on),
        },
    }


def _placed(fleet: str) -> dict[str, Any]:
    return header(_PLACE, f"p%UPSTREAM_REMOTE_PORT%-{_short(fleet)}")


def _short(fleet: str) -> str:
    return hashlib.sha256(fleet.encode()).hexdigest()[:8]
