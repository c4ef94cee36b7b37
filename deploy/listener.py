"""The part of the gateway that never changes after the start, as plain data: listener, filters, statistics.

Nothing here depends on an endpoint, so no connection is ever drained by a rollout.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from deploy import sessions
from deploy.answers import ASYNC_MARK, local_replies
from deploy.lua import LUA
from deploy.parts import header
from serving.contract import STAGE

ASYNC_CLUSTER = "seaway-async"
"""The process that takes asynchronous calls."""
ROUTES = "seaway"
"""Name of the route configuration, and prefix of the listener's statistics."""
MAX_BODY_BYTES = 25 * 1024 * 1024
"""Largest request body; a longer one is 413."""
LATENCY_BUCKETS_MS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500, 750),
    *(1000, 2000, 5000, 10000, 30000, 60000),
)
"""Upper bounds of the latency histogram in milliseconds."""
REQUEST_ID_HEADER = "x-amzn-RequestId"
REQUEST_SECONDS, INTERNAL_REQUEST_SECONDS = 300, 3660
"""Longest time for a request to arrive: from a client, and from the asynchronous service."""

_RUNTIME = {"re2.max_program_size.error_level": 10_000}
"""Patterns of 1024 characters are longer than Envoy takes unless it is told to; they are ours alone."""
_TYPES = "type.googleapis.com/envoy"


@dataclass(frozen=True, slots=True)
class AsyncPorts:
    """How asynchronous calls come and go."""

    service: int
    """Where the process listens that takes them."""
    internal: int
    """Where it alone sends them to the endpoints: requests that may be long, and last an hour."""


def bootstrap(
    *,
    admin_host: str,
    admin_port: int,
    host: str,
    port: int,
    folder: PurePath,
    node: str,
    asynchronous: AsyncPorts | None = None,
) -> dict[str, Any]:
    """The file Envoy is started with.

    Args:
        admin_host: address of the admin interface; it can stop Envoy, so keep it local.
        admin_port: its port.
        host: address that clients call.
        port: its port.
        folder: where the adapter replaces `rds.json`, `cds.json` and the files in `eds/`.
        node: name of this Envoy in its own logs and statistics.
        asynchronous: ports of asynchronous calls, on `admin_host`; None without them.
    """
    return {
        "node": {"id": node, "cluster": "seaway"},
        "admin": {"address": address(admin_host, admin_port)},
        "stats_flush_interval": "1s",  # histograms become visible at a flush
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_BUCKETS_MS)}
            ]
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        "dynamic_resources": {"cds_config": watched(folder / "cds.json")},
        "static_resources": {
            "listeners": [
                _listener("seaway", host, port, _connection_manager(folder)),
                *(
                    [_listener("seaway-internal", admin_host, asynchronous.internal, _internal(folder))]
                    if asynchronous
                    else []
                ),
            ],
            "clusters": ([_static(ASYNC_CLUSTER, admin_host, asynchronous.service)] if asynchronous else []),
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10_000,
                    },
                }
            ]
        },
    }


def _static(name: str, host: str, port: int) -> dict[str, Any]:
    """One process at an address that never changes."""
    endpoint = {"endpoint": {"address": address(host, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _listener(name: str, host: str, port: int, manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": address(host, port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _connection_manager(folder: PurePath) -> dict[str, Any]:
    return {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": ROUTES,
        "rds": {"route_config_name": ROUTES, "config_source": watched(folder / "rds.json")},
        "use_remote_address": True,
        # No address is internal: nobody chooses request ids or steers the gateway by x-envoy-* headers.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "request_headers_timeout": "10s",
        "request_timeout": f"{REQUEST_SECONDS}s",
        "early_header_mutation_extensions": _early({"remove": ASYNC_MARK}),
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 4 * 1024 * 1024,
        },
        "http_filters": _filters(),
        "local_reply_config": local_replies(MAX_BODY_BYTES),
        "access_log": [_access_log()],
    }


def _internal(folder: PurePath) -> dict[str, Any]:
    """The same routes for the asynchronous service: its requests carry a mark that no client can set."""
    return _connection_manager(folder) | {
        "request_timeout": f"{INTERNAL_REQUEST_SECONDS}s",
        "early_header_mutation_extensions": _early({"append": header(ASYNC_MARK, "1")}),
    }


def _early(mutation: dict[str, Any]) -> list[dict[str, Any]]:
    """What is done to a request's headers before a route is chosen."""
    name = "envoy.http.early_header_mutation.header_mutation"
    package = f"{_TYPES}.extensions.http.early_header_mutation.header_mutation.v3"
    return [{"name": name, "typed_config": {"@type": f"{package}.HeaderMutation", "mutations": [mutation]}}]


def _access_log() -> dict[str, Any]:
    """One line for each request that the gateway itself could not complete.

    It goes to standard output, which the supervisor rotates. Requests are counted and captured elsewhere;
    a line for each would only fill the disk.
    """
    line = (
        "%START_TIME% %REQ(x-request-id)% %ROUTE_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %RESPONSE_CODE% "
        "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DURATION%ms\n"
    )
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {
            "response_flag_filter": {"flags": ["UH", "UF", "UT", "UC", "UR", "UO", "NC", "UPE", "URX"]}
        },
        "typed_config": {
            "@type": f"{_TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": line}},
        },
    }


def _filters() -> list[dict[str, Any]]:
    package = f"{_TYPES}.extensions.filters.http"
    answer = [
        {"append": header(REQUEST_ID_HEADER, "%REQ(x-request-id)%")},
        {"remove": "server"},
        {"remove": STAGE},
    ]
    configured: dict[str, dict[str, Any]] = {
        "header_mutation": {
            "@type": f"{package}.header_mutation.v3.HeaderMutation",
            "mutations": {"response_mutations": answer},
        },
        "buffer": {"@type": f"{package}.buffer.v3.Buffer", "max_request_bytes": MAX_BODY_BYTES},
        "lua": {
            "@type": f"{package}.lua.v3.Lua",
            "default_source_code": {"inline_string": LUA["answer"]},
            "source_codes": {name: {"inline_string": LUA[name]} for name in LUA if name != "answer"},
        },
        "router": {"@type": f"{package}.router.v3.Router", "suppress_envoy_headers": True},
    }
    named = {
        name: {"name": f"envoy.filters.http.{name}", "typed_config": config}
        for name, config in configured.items()
    }
    *before, router = (named | {"lua": _unless_answered(named["lua"])}).values()
    return [*before, *sessions.filters(), router]


def _unless_answered(scripts: dict[str, Any]) -> dict[str, Any]:
    """The filter, but it does not see answers with a status of 2xx: starting a script takes a while."""
    status = {
        "name": "status",
        "typed_config": {"@type": f"{_TYPES}.type.matcher.v3.HttpResponseStatusCodeClassMatchInput"},
    }
    skip = {
        "name": "skip",
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.common.matcher.action.v3.SkipFilter"},
    }
    answered = {
        "predicate": {"single_predicate": {"input": status, "value_match": {"exact": "2xx"}}},
        "on_match": {"action": skip},
    }
    return {
        "name": scripts["name"],
        "typed_config": {
            "@type": f"{_TYPES}.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": scripts,
            "xds_matcher": {"matcher_list": {"matchers": [answered]}},
        },
    }


def address(host: str, port: int) -> dict[str, Any]:
    """A socket."""
    return {"socket_address": {"address": host, "port_value": port}}


def watched(path: PurePath) -> dict[str, Any]:
    """A configuration file that Envoy reads again whenever another is moved to its place."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def discovery(*resources: dict[str, Any]) -> dict[str, Any]:
    """The content of a watched file: resources, and a short hash of them as their version."""
    canonical = json.dumps(list(resources), sort_keys=True, separators=(",", ":"))
    version = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return {"version_info": version, "resources": list(resources)}
