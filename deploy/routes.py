"""Where each endpoint's requests go, as Envoy's route configuration: plain data.

Answers follow SageMaker's runtime API; above all a model's failure is 424 `ModelError`, because clients
repeat 502, 503 and 504 and would run a failing model three times. On the paths of the Open Inference
Protocol the model's own answers pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.answers import ASYNC_MARK, ERROR_TYPE, LOCAL_MARK, SLOT_HEADER, THROTTLED
from deploy.layout import ACTIVATOR, SIDECAR, Layout, recalled, remembered
from deploy.listener import REQUEST_ID_HEADER, ROUTES, discovery
from deploy.parts import header, match, of_value, plain, script
from deploy.port import Share
from deploy.refusals import by_script, direct, of_headers, of_the_rest, said
from deploy.sessions import any_session, kept, opened_by
from deploy.sticky import Rule, Segment, sizes
from serving.contract import TARGET_MODEL, UNSENT

MODEL_TIMEOUT_SECONDS = 60.0
"""How long a model may take, retries included; below the read time-out of boto3 with its connection time."""
STREAM_TIMEOUT_SECONDS = 480.0
"""How long a streamed answer may take."""
ASYNC_TIMEOUT_SECONDS = 3660.0
"""How long an asynchronous call may take; its caller gives up before."""
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
TARGET_HEADER = "x-amzn-sagemaker-target-variant"

_CLIENT_SECRETS = ("authorization", "cookie", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256")
_CLIENT_NOISE = ("amz-sdk-request", TARGET_HEADER, SLOT_HEADER)
_CALL = "amz-sdk-invocation-id"
"""Names a call that its client repeats: noise to a model, but the asynchronous service goes by it."""
_TYPES = "type.googleapis.com/envoy"


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
            "response_headers_to_remove": ["server", LOCAL_MARK, UNSENT],
            "virtual_hosts": [
                {"name": ROUTES, "domains": ["*"], "routes": [*of_headers(), *table, *of_the_rest()]}
            ],
            "metadata": {"filter_metadata": {"seaway": {"endpoints": remembered(known)}}},
        }
    )


def remembered_routes(rds: Mapping[str, Any]) -> dict[str, Layout]:
    """The endpoints from which `routes` made this content of `rds.json`."""
    endpoints = rds["resources"][0]["metadata"]["filter_metadata"]["seaway"]["endpoints"]
    return recalled(endpoints)


def _endpoint(name: str, layout: Layout, timeout: float) -> list[dict[str, Any]]:
    """The routes of all ways to ask an endpoint."""
    return [
        route
        for door in _doors(name, timeout)
        for route in (
            [_closed(door, name)] if layout.asynchronous and door.waits else _behind(door, name, layout)
        )
    ]


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
    waits: bool = False
    """Its caller waits for the model's answer."""
    believes: bool = False
    """Its caller goes by the answer's type of error, which no model may choose then."""


def _doors(name: str, timeout: float) -> tuple[_Door, ...]:
    about = f"/v2/models/{re.escape(name)}(/versions/[^/]+)?"
    asking, reading = [of_value(":method", "POST")], [of_value(":method", "GET")]
    return (
        _Door(
            {"path": f"/endpoints/{name}/invocations", "headers": asking}, "/invocations", timeout, waits=True
        ),
        _Door(
            {"path": f"/endpoints/{name}/invocations-response-stream", "headers": asking},
            "/invocations-response-stream",
            max(timeout, STREAM_TIMEOUT_SECONDS),
            waits=True,
        ),
        _Door(
            {"path": f"/async/endpoints/{name}/invocations", "headers": [of_value(ASYNC_MARK, "1")]},
            "/invocations",
            max(timeout, ASYNC_TIMEOUT_SECONDS),
            plain=True,
            unbuffered=True,
            believes=True,
        ),
        _Door(
            {"safe_regex": {"regex": f"{about}/infer"}, "headers": asking},
            "",
            timeout,
            plain=True,
            waits=True,
        ),
        _Door({"safe_regex": {"regex": f"{about}(/ready)?"}, "headers": reading}, "", timeout, plain=True),
    )


def _closed(door: _Door, name: str) -> dict[str, Any]:
    """The refusal of calls that wait for their answer."""
    way = f"/endpoints/{name}/async-invocations"
    why = f"Endpoint {name} takes asynchronous calls only; use InvokeEndpointAsync, POST {way}."
    refusal = said(400, {"error": why}) if door.plain else direct(400, "ValidationError", why)
    return {"match": door.match, **refusal}


def _behind(door: _Door, name: str, layout: Layout) -> list[dict[str, Any]]:
    """First the routes by header, then a refusal of unknown variants, then sessions, then the split."""
    split = layout.shares
    by_variant: dict[str, list[Share]] = {}
    for share in split:
        by_variant.setdefault(share.variant, []).append(share)
    unshaped = plain(unbuffered=door.unbuffered) if door.plain else {}
    targeted = [
        {
            "name": name,
            "match": match(door.match, of_value(TARGET_HEADER, variant)),
            "route": _action(door, layout, shares),
            "request_headers_to_remove": [_CALL],
            **unshaped,
        }
        for variant, shares in by_variant.items()
    ]
    targeted_elsewhere = {
        "match": match(door.match, {"name": TARGET_HEADER, "present_match": True}),
        **by_script("unknown_variant"),
    }
    copied = [_mirror(share) for share in split if share.mirror]
    mirrored = {"request_mirror_policies": copied} if copied else {}
    usual = {
        "name": name,
        "match": door.match,
        "request_headers_to_remove": [_CALL],
        "route": _action(door, layout, list(split), layout.segments) | mirrored,
        **(_stick(layout.sticky, door) or unshaped),
    }
    if door.plain:
        return [*targeted, targeted_elsewhere, usual]
    by_opener = [
        kept({**usual, "route": _action(door, layout, [share]) | mirrored}, opened_by(share.fleet))
        for share in split
    ]
    return [
        *_one_model(door, layout),
        *(kept(route, any_session()) for route in targeted),
        *targeted,
        targeted_elsewhere,
        *by_opener,
        kept(usual, any_session()),
        usual,
    ]


def _one_model(door: _Door, layout: Layout) -> list[dict[str, Any]]:
    """The refusal of a choice between models where there is one."""
    if layout.many_models:
        return []
    chosen = {"name": TARGET_MODEL, "present_match": True}
    return [{"match": {**door.match, "headers": [chosen, *door.match["headers"]]}, **by_script("one_model")}]


def _action(
    door: _Door, layout: Layout, shares: list[Share], segments: tuple[Segment, ...] = ()
) -> dict[str, Any]:
    """Split by weight, or by client; a variant asked for by name answers even at weight 0."""
    again = ["connect-failure", "refused-stream", "reset-before-request"]
    if believed := all(layout.front(share.fleet) == SIDECAR for share in shares):
        again.append("retriable-headers")
    split = _by_client(shares, segments) if segments else _by_weight(shares)
    for part in split["clusters"]:
        part["response_headers_to_remove"] = _unsaid(door, layout.front(part["name"]))
    return {
        "weighted_clusters": split,
        **({"prefix_rewrite": door.path} if door.path else {}),
        "timeout": f"{door.timeout:g}s",
        "idle_timeout": f"{door.timeout:g}s",
        "retry_policy": {
            "retry_on": ",".join(again),
            **({"retriable_headers": [{"name": UNSENT, "present_match": True}]} if believed else {}),
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


def _unsaid(door: _Door, front: str) -> list[str]:
    """Headers by which a model could say that its failure was none; our activator alone may set them."""
    if front == ACTIVATOR:
        return [THROTTLED] if door.plain else []
    return [THROTTLED, ERROR_TYPE] if door.believes else [THROTTLED]


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


def _stick(sticky: str, door: _Door) -> dict[str, Any]:
    """The script that hashes a client into its slot, and what it shall look at."""
    rule = Rule.parse(sticky)
    if rule is None:
        return {}
    looked_up = {"source": rule.source, "name": rule.name.lower()}
    return script("sticky_plain" if door.plain else "sticky", looked_up)


def _mirror(share: Share) -> dict[str, Any]:
    fraction = {"default_value": {"numerator": share.mirror, "denominator": "HUNDRED"}}
    return {"cluster": share.fleet, "runtime_fraction": fraction}
