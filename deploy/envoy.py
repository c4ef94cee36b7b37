"""The effects of the gateway: Envoy's admin interface, and the folder of files it watches."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy import gateway
from deploy.errors import GatewayUnreachable
from deploy.port import Counters, Fleet, Share

_COUNTER = re.compile(r"cluster\.(?P<fleet>[^.]+)\.(?P<name>upstream_(?:rq|cx)_[a-z0-9_]+)")
_UPTIME = "server.uptime"
_ARRIVING = (
    f"^(http\\.{gateway.ROUTES}\\.downstream_rq_active|cluster\\.[^.]+\\.upstream_rq_(pending_)?active)$"
)
_FIELDS = {
    "upstream_rq_completed": "requests",
    "upstream_rq_4xx": "errors_4xx",
    "upstream_rq_5xx": "errors_5xx",
    "upstream_rq_active": "active",
}
_REFUSED = ("upstream_rq_pending_overflow", "upstream_rq_active_overflow")
"""A refused request is in one of them, and Envoy counts it as completed with a 503 of its own."""


def command(executable: str, configuration: Path, *, concurrency: int = 1) -> tuple[str, ...]:
    """How to start Envoy, without hot restart: files carry every change, and homes would share its memory."""
    options = ("--disable-hot-restart", "--concurrency", str(concurrency), "--log-level", "warning")
    return (executable, "-c", str(configuration), *options)


@dataclass(frozen=True, slots=True)
class Host:
    """One instance as Envoy sees it."""

    healthy: bool
    """It answers its health checks and is not draining."""
    active: int
    """Requests it is answering now."""


class EnvoyAdmin:
    """Envoy's admin interface. Every method raises `GatewayUnreachable` when it does not answer."""

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        import httpx

        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def counters(self, prefix: str = "") -> dict[str, Counters]:
        """Totals by fleet id, of fleets whose id begins with `prefix`; a restarted Envoy begins at zero."""
        cluster = f"{re.escape(gateway.stat_name(prefix))}[^.]*"
        chosen = f"^(server\\.uptime|cluster\\.{cluster}\\.upstream_(rq|cx)_[a-z0-9_]+)$"
        answer = self._get("/stats", format="json", filter=chosen, histogram_buckets="cumulative")
        return parse_counters(answer)

    def hosts(self, fleet: str) -> dict[int, Host]:
        """The instances of a fleet by port; empty while Envoy does not know the fleet."""
        return parse_hosts(self._get("/clusters", format="json"), fleet)

    def healthy(self, fleet: str) -> int:
        """How many instances of the fleet may get requests."""
        return sum(host.healthy for host in self.hosts(fleet).values())

    def arriving(self, mirrored: Collection[str] = ()) -> int:
        """Requests that have not been handed to a fleet, such as those whose bodies are still on their way.

        Their fleets are chosen already: one whose routes ended may still get requests while this is not 0.

        Args:
            mirrored: fleets that get copies, which are nobody's requests.
        """
        return parse_arriving(self._get("/stats", format="json", type="Gauges", filter=_ARRIVING), mirrored)

    def applied_routes(self) -> str:
        """Version of the routes in force; empty before the first."""
        return self._text(f"http.{gateway.ROUTES}.rds.{gateway.ROUTES}.version_text")

    def applied_clusters(self) -> str:
        """Version of the clusters in force; empty before the first."""
        return self._text("cluster_manager.cds.version_text")

    def applied_instances(self, fleet: str) -> str:
        """Version of the fleet's instances in force; empty before the first."""
        return self._text(f"cluster.{gateway.stat_name(fleet)}.version_text")

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _text(self, name: str) -> str:
        wanted = f"^{re.escape(name)}$"
        found = self._get("/stats", format="json", type="TextReadouts", filter=wanted)["stats"]
        return next((str(stat["value"]) for stat in found if stat.get("name") == name), "")

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        import httpx

        try:
            answer = self._client.get(path, params=query).raise_for_status()
            return dict(answer.json())
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise GatewayUnreachable(
                f"the gateway's admin interface at {self._client.base_url} does not answer ({error}); "
                "see `seaway status`"
            ) from error


def parse_counters(stats: Mapping[str, Any]) -> dict[str, Counters]:
    """Totals by fleet id from `/stats?format=json&histogram_buckets=cumulative`."""
    uptime = next((int(stat["value"]) for stat in stats["stats"] if stat.get("name") == _UPTIME), 0)
    simple: dict[str, dict[str, int]] = {}
    latency: dict[str, tuple[tuple[float, int], ...]] = {}
    for stat in stats["stats"]:
        for histogram in stat.get("histograms", ()):
            if (found := _COUNTER.fullmatch(histogram["name"])) and found["name"] == "upstream_rq_time":
                latency[found["fleet"]] = _buckets(histogram["buckets"])
        if found := _COUNTER.fullmatch(stat.get("name", "")):
            simple.setdefault(found["fleet"], {})[found["name"]] = int(stat["value"])
    return {
        name.replace("_", "."): _counters(simple.get(name, {}), latency.get(name, ()), uptime)
        for name in sorted(simple.keys() | latency.keys())
    }


def parse_arriving(stats: Mapping[str, Any], mirrored: Collection[str] = ()) -> int:
    """Requests taken less those handed to a fleet, from `/stats?format=json&type=Gauges`."""
    copies = {gateway.stat_name(fleet) for fleet in mirrored}
    taken = handed = 0
    for stat in stats["stats"]:
        where, name = str(stat["name"]).split(".", 1)
        if where == "http":
            taken += int(stat["value"])
        elif name.split(".", 1)[0] not in copies:
            handed += int(stat["value"])
    return max(0, taken - handed)


def parse_hosts(clusters: Mapping[str, Any], fleet: str) -> dict[int, Host]:
    """Instances by port from `/clusters?format=json`."""
    for cluster in clusters.get("cluster_statuses", ()):
        if cluster["name"] == fleet:
            return {
                int(host["address"]["socket_address"]["port_value"]): _host(host)
                for host in cluster.get("host_statuses", ())
            }
    return {}


def _host(status: Mapping[str, Any]) -> Host:
    """Any health flag beside the one from EDS names a reason to keep requests away."""
    health = status.get("health_status", {})
    gauges = {stat["name"]: int(stat.get("value", 0)) for stat in status.get("stats", ())}
    return Host(healthy=health == {"eds_health_status": "HEALTHY"}, active=gauges.get("rq_active", 0))


def _counters(found: dict[str, int], latency: tuple[tuple[float, int], ...], uptime: int) -> Counters:
    known = {field: found.get(name, 0) for name, field in _FIELDS.items()}
    other = {name: value for name, value in found.items() if name not in _FIELDS and "active" not in name}
    refused = sum(found.get(name, 0) for name in _REFUSED)
    return Counters(**known, latency=latency, refused=refused, other=other, uptime=uptime)


def _buckets(buckets: list[dict[str, Any]]) -> tuple[tuple[float, int], ...]:
    """Envoy leaves out infinity; no answer takes longer than the last bound, the model's time-out."""
    bounded = tuple((float(bucket["upper_bound"]), int(bucket["cumulative"])) for bucket in buckets)
    return (*bounded, (float("inf"), bounded[-1][1])) if bounded else ()


class ConfigFolder:
    """The files Envoy watches. They are also the memory of what was last asked for, across restarts."""

    def __init__(
        self,
        path: Path,
        *,
        model_timeout: float = gateway.MODEL_TIMEOUT_SECONDS,
        max_requests: int = gateway.MAX_REQUESTS,
    ) -> None:
        self.path = path.absolute()
        self._timeout = model_timeout
        self._max_requests = max_requests

    def prepare(self) -> None:
        """Make the folder so that Envoy can start: no endpoints and no clusters, unless it holds some."""
        (self.path / "eds").mkdir(parents=True, exist_ok=True)
        if not (self.path / "rds.json").exists():
            self.write_routes({})
        if not (self.path / "cds.json").exists():
            self.write_clusters([])

    def endpoints(self) -> dict[str, tuple[Share, ...]]:
        """The split of each endpoint, as last written."""
        return {name: layout.shares for name, layout in self._layouts().items()}

    def _layouts(self) -> dict[str, gateway.Layout]:
        file = self.path / "rds.json"
        return gateway.remembered_routes(json.loads(file.read_text())) if file.exists() else {}

    def write_routes(
        self,
        endpoints: Mapping[str, tuple[Share, ...]],
        sticky: Mapping[str, str] | None = None,
        asynchronous: Mapping[str, bool] | None = None,
        many_models: Mapping[str, bool] | None = None,
        fronts: Mapping[str, Mapping[str, str]] | None = None,
    ) -> str:
        """Replace the routes of all endpoints; returns their version.

        Args:
            endpoints: the split of each by name.
            sticky: what identifies a client, by endpoint; as it was for endpoints that are not named.
            asynchronous: which endpoints take asynchronous calls only; the same holds.
            many_models: at which endpoints a caller chooses the model; the same holds.
            fronts: who of ours answers in front of each fleet, by endpoint; the same holds.

        Raises:
            ValueError: the weights of an endpoint do not sum to 100, or a rule cannot be read.
        """
        before = self._layouts()
        rules = {name: layout.sticky for name, layout in before.items()} | dict(sticky or {})
        calls = {name: layout.asynchronous for name, layout in before.items()} | dict(asynchronous or {})
        many = {name: layout.many_models for name, layout in before.items()} | dict(many_models or {})
        before_them = {name: dict(layout.fronts) for name, layout in before.items()} | dict(fronts or {})
        layouts = {
            name: gateway.arrange(
                before.get(name),
                split,
                rules.get(name, ""),
                asynchronous=calls.get(name, False),
                many_models=many.get(name, False),
                fronts=before_them.get(name),
            )
            for name, split in endpoints.items()
        }
        return self._write("rds.json", gateway.routes(layouts, timeout=self._timeout))

    def write_clusters(self, fleets: Iterable[Fleet]) -> str:
        """Replace the list of fleets; returns its version. Write a new fleet's instances first."""
        content = gateway.clusters(fleets, self.path, max_requests=self._max_requests)
        return self._write("cds.json", content)

    def write_instances(self, fleet: str, ports: Iterable[int], draining: Iterable[int] = ()) -> str:
        """Replace the instances of a fleet; returns their version."""
        return self._write(f"eds/{fleet}.json", gateway.endpoints(fleet, ports, draining=draining))

    def forget_instances(self, fleet: str) -> None:
        """Remove the file of a fleet that is no cluster any more."""
        (self.path / "eds" / f"{fleet}.json").unlink(missing_ok=True)

    def _write(self, name: str, content: dict[str, Any]) -> str:
        """Envoy reloads a file only when another is moved to its place; an unchanged one is left alone."""
        target = self.path / name
        text = json.dumps(content, indent=1)
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with os.fdopen(handle, "w") as file:
                file.write(text)
            Path(temporary).replace(target)
        return str(content["version_info"])
