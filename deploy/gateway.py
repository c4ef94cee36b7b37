"""The gateway's configuration as plain data: what Envoy should do for a given set of endpoints.

Routes (RDS), clusters (CDS) and instances (EDS) are separate files that the adapter replaces; the listener
(`deploy/listener.py`) stays. Answers follow SageMaker's runtime API; above all a model's failure is 424
`ModelError`, because clients repeat 502, 503 and 504 and would run a failing model three times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from deploy.answers import LOCAL_MARK
from deploy.listener import (
    LATENCY_BUCKETS_MS,
    MAX_BODY_BYTES,
    REQUEST_ID_HEADER,
    ROUTES,
    address,
    bootstrap,
    header,
    watched,
)
from deploy.port import Fleet, Share

__all__ = [
    "LATENCY_BUCKETS_MS",
    "MAX_BODY_BYTES",
    "MAX_REQUESTS",
    "MODEL_TIMEOUT_SECONDS",
    "ROUTES",
    "bootstrap",
    "clusters",
    "endpoints",
    "remembered_routes",
    "routes",
    "stat_name",
    "version",
]

MODEL_TIMEOUT_SECONDS = 60.0
"""How long a model may take, retries included; below the read time-out of boto3 with its connection time."""
MAX_REQUESTS = 1024
"""Most requests of a fleet that are answered at a time, and as many that wait; more are refused with 429."""
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
TARGET_HEADER = "x-amzn-sagemaker-target-variant"

_KEEPALIVE = "4s"  # uvicorn closes idle connections after 5 s; the gateway must be the one who closes first
_CLIENT_SECRETS = ("authorization", "cookie", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256")
_CLIENT_NOISE = ("amz-sdk-invocation-id", "amz-sdk-request", TARGET_HEADER)
_TYPES = "type.googleapis.com/envoy"


def routes(
    endpoints: Mapping[str, tuple[Share, ...]], *, timeout: float = MODEL_TIMEOUT_SECONDS
) -> dict[str, Any]:
    """The content of `rds.json`: where each endpoint's requests go.

    Args:
        endpoints: the split of each endpoint by its name; an empty split is an unknown endpoint.
        timeout: seconds a model may take.

    Raises:
        ValueError: the weights of an endpoint do not sum to 100.
    """
    known = {name: split for name, split in sorted(endpoints.items()) if split}
    table = [route for name, split in known.items() for route in _endpoint(name, split, timeout)]
    return _discovery(
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


def remembered_routes(rds: Mapping[str, Any]) -> dict[str, tuple[Share, ...]]:
    """The endpoints from which `routes` made this content of `rds.json`."""
    endpoints = rds["resources"][0]["metadata"]["filter_metadata"]["seaway"]["endpoints"]
    return {name: tuple(Share(**share) for share in split) for name, split in endpoints.items()}


def clusters(
    fleets: Iterable[Fleet], folder: PurePath, *, max_requests: int = MAX_REQUESTS
) -> dict[str, Any]:
    """The content of `cds.json`: one cluster per fleet, which never changes once made."""
    names = sorted(fleet.id for fleet in fleets)
    return _discovery(*(_cluster(name, folder, max_requests) for name in names))


def endpoints(
    fleet: str, ports: Iterable[int], *, draining: Iterable[int] = (), host: str = "127.0.0.1"
) -> dict[str, Any]:
    """The content of the fleet's file in `eds/`.

    Args:
        fleet: `Fleet.id`.
        ports: ports of the instances that take requests.
        draining: ports of instances that only finish what they have.
        host: address of the instances.
    """
    states = dict.fromkeys(ports, "HEALTHY") | dict.fromkeys(draining, "DRAINING")
    return _discovery(
        {
            "@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": fleet,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": address(host, port)}, "health_status": state}
                        for port, state in sorted(states.items())
                    ]
                }
            ],
        }
    )


def stat_name(fleet: str) -> str:
    """Name of a fleet in Envoy's statistics, where dots separate; unique, as ids hold no underscore."""
    return fleet.replace(".", "_")


def version(resources: list[dict[str, Any]]) -> str:
    """Short hash of the content, in hexadecimal; equal content has the equal version."""
    canonical = json.dumps(resources, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _discovery(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"version_info": version(list(resources)), "resources": list(resources)}


def _remembered(split_of: Mapping[str, tuple[Share, ...]]) -> dict[str, Any]:
    return {
        name: [
            {"fleet": s.fleet, "variant": s.variant, "weight": s.weight, "mirror": s.mirror} for s in split
        ]
        for name, split in split_of.items()
    }


def _endpoint(name: str, split: tuple[Share, ...], timeout: float) -> list[dict[str, Any]]:
    """First the routes by header, then a refusal of unknown variants, then the split."""
    total = sum(share.weight for share in split)
    if total != 100:
        raise ValueError(f"the weights of endpoint {name} sum to {total}; make them sum to 100")
    match = _match({"path": f"/endpoints/{name}/invocations"})
    by_variant: dict[str, list[Share]] = {}
    for share in split:
        by_variant.setdefault(share.variant, []).append(share)
    targeted = [
        {
            "name": name,
            "match": _match(match, _is(TARGET_HEADER, variant)),
            "route": _action(shares, timeout),
        }
        for variant, shares in by_variant.items()
    ]
    targeted_elsewhere = {
        "match": _match(match, {"name": TARGET_HEADER, "present_match": True}),
        **_refuse("unknown_variant"),
    }
    copied = [_mirror(share) for share in split if share.mirror]
    usual = {
        "name": name,
        "match": match,
        "route": _action(list(split), timeout) | ({"request_mirror_policies": copied} if copied else {}),
    }
    return [*targeted, targeted_elsewhere, usual]


def _action(shares: list[Share], timeout: float) -> dict[str, Any]:
    """Split by weight; a variant asked for by name answers even at weight 0."""
    idle = not any(share.weight for share in shares)
    return {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": share.fleet,
                    "weight": 1 if idle else share.weight,
                    "response_headers_to_add": [header(VARIANT_HEADER, share.variant)],
                }
                for share in shares
                if idle or share.weight
            ]
        },
        "prefix_rewrite": "/invocations",
        "timeout": f"{timeout:g}s",
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


def _mirror(share: Share) -> dict[str, Any]:
    fraction = {"default_value": {"numerator": share.mirror, "denominator": "HUNDRED"}}
    return {"cluster": share.fleet, "runtime_fraction": fraction}


def _refusals() -> list[dict[str, Any]]:
    """What no endpoint's route took: an unknown endpoint, a wrong method, a wrong path."""
    invocation = {"safe_regex": {"regex": "/endpoints/[^/]+/invocations"}}
    return [
        {"match": _match(invocation), **_refuse("unknown_endpoint")},
        {
            "match": invocation,
            **_direct(405, "UnknownOperationException", "This path answers POST only."),
            "response_headers_to_add": [
                header("content-type", "application/json"),
                header("x-amzn-ErrorType", "UnknownOperationException"),
                header("allow", "POST"),
            ],
        },
        {
            "match": {"prefix": "/"},
            **_direct(404, "UnknownOperationException", "Call POST /endpoints/NAME/invocations."),
        },
    ]


def _direct(status: int, code: str, message: str) -> dict[str, Any]:
    return {
        "direct_response": {"status": status, "body": {"inline_string": json.dumps({"message": message})}},
        "response_headers_to_add": [
            header("content-type", "application/json"),
            header("x-amzn-ErrorType", code),
        ],
    }


def _refuse(script: str) -> dict[str, Any]:
    """A 400 whose text names what was asked for; the script answers before the direct response would."""
    lua = {"@type": f"{_TYPES}.extensions.filters.http.lua.v3.LuaPerRoute", "name": script}
    return {
        "direct_response": {"status": 400},
        "typed_per_filter_config": {"envoy.filters.http.lua": lua},
    }


def _match(path: Mapping[str, Any], *headers: dict[str, Any]) -> dict[str, Any]:
    earlier = path.get("headers", [_is(":method", "POST")])
    return {**path, "headers": [*earlier, *headers]}


def _is(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def _cluster(fleet: str, folder: PurePath, limit: int) -> dict[str, Any]:
    limited = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "@type": f"{_TYPES}.config.cluster.v3.Cluster",
        "name": fleet,
        "alt_stat_name": stat_name(fleet),
        "type": "EDS",
        "eds_cluster_config": {
            "service_name": fleet,
            "eds_config": watched(folder / "eds" / f"{fleet}.json"),
        },
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {
            "healthy_panic_threshold": {"value": 0},
            "update_merge_window": "0s",  # by default workers learn of health and drains up to 1 s late
        },
        "ignore_health_on_host_removal": True,
        "circuit_breakers": {"thresholds": [dict.fromkeys(limited, limit)]},
        "health_checks": [_health_check()],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": _KEEPALIVE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _health_check() -> dict[str, Any]:
    """Every second from the first moment on; a refused connection counts at once, a slow answer after 2 s."""
    return {
        "timeout": "2s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_interval": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/ping"},
    }
