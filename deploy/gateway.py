"""The gateway's configuration as plain data: what Envoy should do for a given set of endpoints.

Routes (RDS, `deploy/routes.py`, with what is refused in `deploy/refusals.py`), clusters (CDS) and instances
(EDS) are separate files that the adapter replaces; the listener (`deploy/listener.py`) stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from deploy.layout import Layout, arrange
from deploy.listener import (
    LATENCY_BUCKETS_MS,
    MAX_BODY_BYTES,
    ROUTES,
    address,
    bootstrap,
    discovery,
    watched,
)
from deploy.port import Fleet
from deploy.routes import MODEL_TIMEOUT_SECONDS, remembered_routes, routes

__all__ = [
    "LATENCY_BUCKETS_MS",
    "MAX_BODY_BYTES",
    "MAX_REQUESTS",
    "MODEL_TIMEOUT_SECONDS",
    "ROUTES",
    "Layout",
    "arrange",
    "bootstrap",
    "clusters",
    "endpoints",
    "remembered_routes",
    "routes",
    "stat_name",
]

MAX_REQUESTS = 1024
"""Most requests of a fleet that are answered at a time, and as many that wait; more are refused with 429."""

_KEEPALIVE = "4s"  # uvicorn closes idle connections after 5 s; the gateway must be the one who closes first
_TYPES = "type.googleapis.com/envoy"


def clusters(
    fleets: Iterable[Fleet], folder: PurePath, *, max_requests: int = MAX_REQUESTS
) -> dict[str, Any]:
    """The content of `cds.json`: one cluster per fleet, which never changes once made."""
    names = sorted(fleet.id for fleet in fleets)
    return discovery(*(_cluster(name, folder, max_requests) for name in names))


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
    return discovery(
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
