"""Where each endpoint's requests go, as Envoy's route configuration: plain data.

Answers follow SageMaker's runtime API; above all a model's failure is 424 `ModelError`, because clients
repeat 502, 503 and 504 and would run a failing model three times. On the paths of the Open Inference
Protocol the model's own answers pass as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploy.answers import LOCAL_MARK, SLOT_HEADER
from deploy.listener import ASYNC_CLUSTER, REQUEST_ID_HEADER, ROUTES, discovery, header
from deploy.port import Share
from deploy.sticky import Rule, Segment, partition, sizes

MODEL_TIMEOUT_SECONDS = 60.0
"""How long a model may take, retries included; below the read time-out of boto3 with its connection time."""
STREAM_TIMEOUT_SECONDS = 480.0
"""How long a streamed answer may take."""
ASYNC_TIMEOUT_SECONDS = 3660.0
"""How long an asynchronous call may take; its caller gives up before."""
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
TARGET_HEADER = "x-amzn-sagemaker-target-variant"

_CLIENT_SECRETS = ("authorization", "cookie", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256")
_CLIENT_NOISE = ("amz-sdk-invocation-id", "amz-sdk-request", TARGET_HEADER, SLOT_HEADER)
_LUA = "envoy.filters.http.lua"
_TYPES = "type.googleapis.com/envoy"


@dataclass(frozen=True, slots=True)
class Layout:
    """How one endpoint's requests are divided."""

    shares: tuple[Share, ...]
    sticky: str = ""
    """`header:NAME` or `cookie:NAME` of what identifies a client; empty when each request stands alone."""
    segments: tuple[Segment, ...] = ()
    """Which clients each fleet has, when they stick."""


def arrange(before: Layout | None, shares: tuple[Share, ...], sticky: str = "") -> Layout:
    """The layout for a split; clients that stick stay where they are as far as the split allows.

    Raises:
        ValueError: the weights do not sum to 100, or `sticky` is no rule.
    """
    total = sum(share.weight for share in shares)
    if shares and not math.isclose(total, 100, abs_tol=1e-6):
        raise ValueError(f"the weights sum to {total:g}; make them sum to 100")
    if Rule.parse(sticky) is None or not shares:
        return Layout(shares)
    old = before.segments if before and before.sticky == sticky else ()
    return Layout(shares, sticky, partition(old, {share.fleet: share.weight for share in shares}))


def routes(endpoints: Mapping[str, Layout], *, timeout: float = MODEL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """The content of `rds.json`: where each endpoint's requests go.

    Args:
        endpoints: the layout of each endpoint by its name; one without shares is an unknown endpoint.
        timeout: seconds a model may take.
    """
    known = {name: layout for name, layout in sorted(endpoints.items()) if layout.shares}
    table = [route for name, layout in known.items() for route in _endpoint(name, layout, timeout)]
    return discovery(
        {
            "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
            "name": ROUTES,
            "request_headers_to_add": [header(REQUEST_ID_HEADER, "%REQ(x-request-id)%")],
            "request_headers_to_remove": [*_CLIENT_SECRETS, *_CLIENT_NOISE],
            "response_headers_to_remove": ["server", LOCAL_MARK],
            "virtual_hosts": [{"name": ROUTES, "domains": ["*"], "routes": [*table, *_refusals()]}],
            "metadata": {"filter_metadata": {"seaway": {"endpoints": _remembered(known)}}},
        }
    )


def remembered_routes(rds: Mapping[str, Any]) -> dict[str, Layout]:
    """The endpoints from which `routes` made this content of `rds.json`."""
    endpoints = rds["resources"][0]["metadata"]["filter_metadata"]["seaway"]["endpoints"]
    return {name: _recalled(kept) for name, kept in endpoints.items()}


def _remembered(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    return {name: asdict(layout) for name, layout in layouts.items()}


def _recalled(kept: Mapping[str, Any]) -> Layout:
    shares = tuple(Share(**share) for share in kept["shares"])
    return Layout(shares, kept["sticky"], tuple(Segment(**segment) for segment in kept["segments"]))


def _endpoint(name: str, layout: Layout, timeout: float) -> list[dict[str, Any]]:
    """The routes of all ways to ask an endpoint."""
    return [route for door in _doors(name, timeout) for route in _behind(door, name, layout)]


@dataclass(frozen=True, slots=True)
class _Door:
    """One way to ask an endpoint."""

    match: Mapping[str, Any]
    path: str
    """Where the instance answers; empty when the path stays."""
    timeout: float
    plain: bool = False
    """The model's answers pass as they are, also failures."""
    unbuffered: bool = False
    """Bodies of any length pass as they come."""


def _doors(name: str, timeout: float) -> tuple[_Door, ...]:
    about = f"/v2/models/{re.escape(name)}(/versions/[^/]+)?"
    asking, reading = [_is(":method", "POST")], [_is(":method", "GET")]
    return (
        _Door({"path": f"/endpoints/{name}/invocations", "headers": asking}, "/invocations", timeout),
        _Door(
            {"path": f"/endpoints/{name}/invocations-response-stream", "headers": asking},
            "/invocations-response-stream",
            max(timeout, STREAM_TIMEOUT_SECONDS),
        ),
        _Door(
            {"path": f"/async/endpoints/{name}/invocations", "headers": asking},
            "/invocations",
            max(timeout, ASYNC_TIMEOUT_SECONDS),
            plain=True,
            unbuffered=True,
        ),
        _Door({"safe_regex": {"regex": f"{about}/infer"}, "headers": asking}, "", timeout, plain=True),
        _Door({"safe_regex": {"regex": f"{about}(/ready)?"}, "headers": reading}, "", timeout, plain=True),
    )


def _behind(door: _Door, name: str, layout: Layout) -> list[dict[str, Any]]:
    """First the routes by header, then a refusal of unknown variants, then the split."""
    split = layout.shares
    by_variant: dict[str, list[Share]] = {}
    for share in split:
        by_variant.setdefault(share.variant, []).append(share)
    plain = _plain(unbuffered=door.unbuffered) if door.plain else {}
    targeted = [
        {
            "name": name,
            "match": _match(door.match, _is(TARGET_HEADER, variant)),
            "route": _action(door, shares),
            **plain,
        }
        for variant, shares in by_variant.items()
    ]
    targeted_elsewhere = {
        "match": _match(door.match, {"name": TARGET_HEADER, "present_match": True}),
        **_refuse("unknown_variant"),
    }
    copied = [_mirror(share) for share in split if share.mirror]
    usual = {
        "name": name,
        "match": door.match,
        "route": _action(door, list(split), layout.segments)
        | ({"request_mirror_policies": copied} if copied else {}),
        **(_stick(layout.sticky, plain=door.plain) or plain),
    }
    return [*targeted, targeted_elsewhere, usual]


def _action(door: _Door, shares: list[Share], segments: tuple[Segment, ...] = ()) -> dict[str, Any]:
    """Split by weight, or by client; a variant asked for by name answers even at weight 0."""
    return {
        "weighted_clusters": _by_client(shares, segments) if segments else _by_weight(shares),
        **({"prefix_rewrite": door.path} if door.path else {}),
        "timeout": f"{door.timeout:g}s",
        "idle_timeout": f"{door.timeout:g}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.050s"},
            # A dead instance has no active requests, so least-request likes it: draw until it is another one.
            "host_selection_retry_max_attempts": 50,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
        },
    }


def _by_weight(shares: list[Share]) -> dict[str, Any]:
    if not any(share.weight for share in shares):
        parts: dict[str, int] = {share.fleet: 1 for share in shares}
    elif all(float(share.weight).is_integer() for share in shares):
        parts = {share.fleet: int(share.weight) for share in shares}
    else:
        parts = sizes({share.fleet: share.weight for share in shares})
    return {"clusters": [_part(share, parts[share.fleet]) for share in shares if parts[share.fleet]]}


def _by_client(shares: list[Share], segments: tuple[Segment, ...]) -> dict[str, Any]:
    """Envoy takes the number in the header modulo the sum of all parts, and walks along them to its place."""
    by_fleet = {share.fleet: share for share in shares}
    parts = [_part(by_fleet[segment.fleet], segment.slots) for segment in segments]
    return {"clusters": parts, "header_name": SLOT_HEADER}


def _part(share: Share, weight: int) -> dict[str, Any]:
    named = [header(VARIANT_HEADER, share.variant)]
    return {"name": share.fleet, "weight": weight, "response_headers_to_add": named}


def _stick(sticky: str, *, plain: bool) -> dict[str, Any]:
    """The script that hashes a client into its slot, and what it shall look at."""
    rule = Rule.parse(sticky)
    if rule is None:
        return {}
    return {
        "metadata": {"filter_metadata": {_LUA: {"source": rule.source, "name": rule.name.lower()}}},
        "typed_per_filter_config": {_LUA: _script("sticky_plain" if plain else "sticky")},
    }


def _plain(*, unbuffered: bool = False) -> dict[str, Any]:
    """No script shapes the answer; with `unbuffered` no body waits until it is complete either."""
    package = f"{_TYPES}.extensions.filters.http"
    buffer = {"envoy.filters.http.buffer": {"@type": f"{package}.buffer.v3.BufferPerRoute", "disabled": True}}
    return {
        "typed_per_filter_config": {_LUA: _script("", disabled=True)} | (buffer if unbuffered else {}),
    }


def _script(name: str, *, disabled: bool = False) -> dict[str, Any]:
    chosen = {"disabled": True} if disabled else {"name": name}
    return {"@type": f"{_TYPES}.extensions.filters.http.lua.v3.LuaPerRoute", **chosen}


def _mirror(share: Share) -> dict[str, Any]:
    fraction = {"default_value": {"numerator": share.mirror, "denominator": "HUNDRED"}}
    return {"cluster": share.fleet, "runtime_fraction": fraction}


def _refusals() -> list[dict[str, Any]]:
    """What no endpoint's route took: an unknown endpoint, a wrong method, a wrong path."""
    invocation = {"safe_regex": {"regex": "/endpoints/[^/]+/invocations(-response-stream)?"}}
    said = "Call POST /endpoints/NAME/invocations, or POST /v2/models/NAME/infer."
    asynchronous = {"safe_regex": {"regex": "/endpoints/[^/]+/async-invocations"}}
    return [
        {
            "match": _match(asynchronous, _is(":method", "POST")),
            "route": {"cluster": ASYNC_CLUSTER, "timeout": "60s"},
            **_plain(),
        },
        {"match": _match(invocation, _is(":method", "POST")), **_refuse("unknown_endpoint")},
        {
            "match": invocation,
            **_direct(405, "UnknownOperationException", "This path answers POST only.", allow="POST"),
        },
        *_open_inference(),
        {"match": {"prefix": "/"}, **_direct(404, "UnknownOperationException", said)},
    ]


def _open_inference() -> list[dict[str, Any]]:
    """What the gateway itself answers of the Open Inference Protocol."""
    about = {"name": "seaway", "version": "2", "extensions": []}
    return [
        {"match": {"path": "/v2/health/live"}, **_said(200, {"live": True})},
        {"match": {"path": "/v2/health/ready"}, **_said(200, {"ready": True})},
        {"match": {"path": "/v2"}, **_said(200, about)},
        {"match": {"prefix": "/v2/"}, **_said(404, {"error": "no such model; its name is the endpoint's"})},
    ]


def _said(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(body)}},
        "response_headers_to_add": [header("content-type", "application/json")],
    }


def _direct(status: int, code: str, message: str, **headers: str) -> dict[str, Any]:
    said = _said(status, {"message": message})
    further = [header(name, value) for name, value in {"x-amzn-ErrorType": code, **headers}.items()]
    named = [*said["response_headers_to_add"], *further]
    return {**said, "response_headers_to_add": named}


def _refuse(script: str) -> dict[str, Any]:
    """A 400 whose text names what was asked for; the script answers before the direct response would."""
    return {
        "direct_response": {"status": 400},
        "typed_per_filter_config": {_LUA: _script(script)},
    }


def _match(path: Mapping[str, Any], *headers: dict[str, Any]) -> dict[str, Any]:
    return {**path, "headers": [*path.get("headers", ()), *headers]}


def _is(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}
