"""The gateway's configuration as data, and what is read back from Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import gateway
from deploy.envoy import ConfigFolder, Host, parse_arriving, parse_counters, parse_hosts
from deploy.instances import Instance, Record
from deploy.layout import ACTIVATOR, SIDECAR
from deploy.port import Fleet, Share
from deploy.targets.memory import Behaviour, MemoryTarget

FOLDER = PurePosixPath("/gateway")
V1, V2 = "flights.v1.aaaaaaaaaaaa", "flights.v2.bbbbbbbbbbbb"
names = st.from_regex(r"\A[a-zA-Z0-9](-?[a-zA-Z0-9]){0,20}\Z")


@st.composite
def splits(draw: st.DrawFn) -> tuple[Share, ...]:
    variants = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    cuts = sorted(draw(st.integers(0, 100)) for _ in variants[1:])
    weights = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    mirrors = [draw(st.integers(0, 100)) for _ in variants]
    return tuple(
        Share(f"e.{variant}.0", variant, weight, mirror)
        for variant, weight, mirror in zip(variants, weights, mirrors, strict=True)
    )


def fleet(instances: int = 1) -> Fleet:
    return Fleet("flights", "v1", "a" * 64, Path("m.tar.gz"), instances)


def table(rds: dict[str, Any]) -> list[dict[str, Any]]:
    (host,) = rds["resources"][0]["virtual_hosts"]
    return list(host["routes"])


def usual(rds: dict[str, Any]) -> dict[str, Any]:
    """The first route that any request of the endpoint may take."""
    return next(r for r in table(rds) if "route" in r and len(r["match"]["headers"]) == 1)


def routes(*, sticky: str = "", **endpoints: tuple[Share, ...]) -> dict[str, Any]:
    return gateway.routes({name: gateway.arrange(None, split, sticky) for name, split in endpoints.items()})


@given(
    st.dictionaries(names, splits(), max_size=4),
    st.sampled_from(["", "header:x-user", "cookie:Session"]),
    st.booleans(),
)
def test_routes_remember_what_they_were_made_of(
    split_of: dict[str, tuple[Share, ...]], sticky: str, many: bool
) -> None:
    endpoints = {
        name: gateway.arrange(
            None, split, sticky, many_models=many, fronts={share.fleet: SIDECAR for share in split[1:]}
        )
        for name, split in split_of.items()
    }
    rds = gateway.routes(endpoints)
    assert gateway.remembered_routes(json.loads(json.dumps(rds))) == endpoints
    assert gateway.routes(dict(reversed(endpoints.items()))) == rds


@given(splits())
def test_the_split_is_shown_as_it_is(split: tuple[Share, ...]) -> None:
    action = usual(routes(e=split))["route"]
    shown = {c["name"]: c["weight"] for c in action["weighted_clusters"]["clusters"]}
    assert shown == {share.fleet: share.weight for share in split if share.weight}
    copied = {
        m["cluster"]: m["runtime_fraction"]["default_value"]["numerator"]
        for m in action.get("request_mirror_policies", [])
    }
    assert copied == {share.fleet: share.mirror for share in split if share.mirror}


@given(splits())
def test_every_variant_is_addressable_and_never_mirrored(split: tuple[Share, ...]) -> None:
    asked = [(r, r["match"]["headers"][-1]) for r in table(routes(e=split)) if "route" in r]
    targeted = [r for r, last in asked if last["name"] == "x-amzn-sagemaker-target-variant"]
    found = {
        r["match"]["headers"][-1]["string_match"]["exact"]: r["route"]["weighted_clusters"]["clusters"][0][
            "name"
        ]
        for r in targeted
    }
    assert found == {share.variant: share.fleet for share in split}
    assert all("request_mirror_policies" not in r["route"] for r in targeted)


@pytest.mark.parametrize("weights", [(), (99,), (60, 60), (0, 0)])
def test_weights_that_do_not_sum_to_100_are_refused(weights: tuple[int, ...]) -> None:
    split = tuple(Share(f"e.v{n}.0", f"v{n}", weight) for n, weight in enumerate(weights))
    if not split:
        assert routes(e=split) == routes()
        return
    with pytest.raises(ValueError, match="make them sum to 100"):
        routes(e=split)


def test_fractions_of_a_percent_are_shown_in_hundredths() -> None:
    split = (Share("e.v1.a", "v1", 200 / 3), Share("e.v2.a", "v2", 100 / 3))
    clusters = usual(routes(e=split))["route"]["weighted_clusters"]["clusters"]
    assert [c["weight"] for c in clusters] == [6667, 3333]


def test_sticky_clients_stay_when_the_weights_change() -> None:
    first = gateway.arrange(None, (Share("a", "v1", 100), Share("b", "v2", 0)), "header:x-user")
    second = gateway.arrange(first, (Share("a", "v1", 75), Share("b", "v2", 25)), "header:x-user")
    chosen = usual(gateway.routes({"e": second}))["route"]["weighted_clusters"]
    assert [(c["name"], c["weight"]) for c in chosen["clusters"]] == [("a", 7500), ("b", 2500)]
    assert chosen["header_name"] == "x-seaway-slot"
    other = gateway.arrange(second, second.shares, "cookie:session")
    assert other.sticky == "cookie:session"
    assert gateway.arrange(second, ()) == gateway.Layout(())


def test_an_asynchronous_endpoint_is_asked_by_the_service_alone() -> None:
    layout = gateway.arrange(None, (Share("e.v1.a", "v1", 100),), "header:x-user", asynchronous=True)
    rds = gateway.routes({"e": layout})
    assert gateway.remembered_routes(json.loads(json.dumps(rds))) == {"e": layout}
    asked = [r["match"] for r in table(rds) if "weighted_clusters" in r.get("route", {})]
    marked = [m for m in asked if m["headers"][0]["name"] == "x-seaway-asynchronous"]
    assert {m["path"] for m in marked} == {"/async/endpoints/e/invocations"}
    others = [m for m in asked if m not in marked]
    assert {m["headers"][0]["string_match"]["exact"] for m in others} == {"GET"}


@pytest.mark.parametrize(
    ("fronts", "again", "unsaid"),
    [
        ({}, False, ["x-seaway-throttled"]),
        ({"a": ACTIVATOR}, False, []),
        ({"a": SIDECAR}, False, ["x-seaway-throttled"]),
        ({"a": SIDECAR, "b": SIDECAR}, True, ["x-seaway-throttled"]),
    ],
)
def test_only_our_own_layers_say_that_a_model_saw_nothing(
    fronts: dict[str, str], again: bool, unsaid: list[str]
) -> None:
    layout = gateway.arrange(None, (Share("a", "v1", 60), Share("b", "v2", 40)), fronts=fronts)
    action = usual(gateway.routes({"e": layout}))["route"]
    assert ("retriable-headers" in action["retry_policy"]["retry_on"]) is again
    first, second = action["weighted_clusters"]["clusters"]
    assert first["response_headers_to_remove"] == unsaid
    assert second["response_headers_to_remove"] == ["x-seaway-throttled"]


def test_two_fleets_of_one_variant_share_its_targeted_requests() -> None:
    split = (Share("e.v1.a", "v1", 100), Share("e.v1.b", "v1", 0))
    first = next(r for r in table(routes(e=split)) if "route" in r)
    targeted = first["route"]["weighted_clusters"]["clusters"]
    assert [(c["name"], c["weight"]) for c in targeted] == [("e.v1.a", 100)]


def test_the_version_follows_the_content() -> None:
    one = gateway.endpoints(V1, [1, 2])
    assert gateway.endpoints(V1, [2, 1]) == one
    assert gateway.endpoints(V1, [1])["version_info"] != one["version_info"]


def test_a_cluster_never_fails_open_and_learns_at_once() -> None:
    (cluster,) = gateway.clusters([fleet()], FOLDER)["resources"]
    assert cluster["alt_stat_name"] == "flights_v1_aaaaaaaaaaaa"
    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    assert cluster["common_lb_config"]["update_merge_window"] == "0s"


def test_a_draining_instance_keeps_its_place() -> None:
    (assignment,) = gateway.endpoints(V1, [1], draining=[2])["resources"]
    (group,) = assignment["endpoints"]
    assert [one["health_status"] for one in group["lb_endpoints"]] == ["HEALTHY", "DRAINING"]


# ---- the folder -------------------------------------------------------------------------------------------


def test_the_folder_remembers_and_leaves_equal_content_alone(tmp_path: Path) -> None:
    folder = ConfigFolder(tmp_path)
    folder.prepare()
    split = (Share(V1, "v1", 100),)
    version = folder.write_routes({"flights": split})
    before = (tmp_path / "rds.json").stat().st_ino
    folder.prepare()
    assert folder.write_routes({"flights": split}) == version
    assert (tmp_path / "rds.json").stat().st_ino == before
    assert ConfigFolder(tmp_path).endpoints() == {"flights": split}
    assert not list(tmp_path.glob(".*"))


# ---- Envoy's answers --------------------------------------------------------------------------------------


def test_counters_are_read_by_fleet() -> None:
    prefix = "cluster.flights_v1_aaaaaaaaaaaa."
    found = parse_counters(
        {
            "stats": [
                {"name": f"{prefix}upstream_rq_completed", "value": 9},
                {"name": f"{prefix}upstream_rq_4xx", "value": 2},
                {"name": f"{prefix}upstream_rq_5xx", "value": 1},
                {"name": f"{prefix}upstream_rq_active", "value": 3},
                {"name": f"{prefix}upstream_rq_timeout", "value": 1},
                {"name": f"{prefix}upstream_cx_active", "value": 4},
                {"name": f"{prefix}upstream_rq_pending_overflow", "value": 5},
                {"name": f"{prefix}upstream_rq_active_overflow", "value": 6},
                {"name": f"{prefix}external.upstream_rq_4xx", "value": 7},
                {
                    "histograms": [
                        {
                            "name": f"{prefix}upstream_rq_time",
                            "buckets": [
                                {"upper_bound": 1, "cumulative": 5},
                                {"upper_bound": 2, "cumulative": 8},
                            ],
                        }
                    ]
                },
            ]
        }
    )
    (counters,) = found.values()
    assert set(found) == {V1}
    assert (counters.requests, counters.errors_4xx, counters.errors_5xx, counters.active) == (9, 2, 1, 3)
    assert counters.latency == ((1.0, 5), (2.0, 8), (float("inf"), 8))
    assert counters.other == {"upstream_rq_timeout": 1, "upstream_rq_pending_overflow": 5}
    assert counters.refused == 11


@pytest.mark.parametrize(
    ("health", "healthy"),
    [
        ({"eds_health_status": "HEALTHY"}, True),
        ({"eds_health_status": "DRAINING"}, False),
        ({"eds_health_status": "HEALTHY", "failed_active_health_check": True}, False),
        ({}, False),
    ],
)
def test_an_instance_is_healthy_without_any_other_flag(health: dict[str, Any], healthy: bool) -> None:
    host = {
        "address": {"socket_address": {"port_value": 7}},
        "stats": [{"name": "rq_active", "value": "2"}, {"name": "rq_error"}],
        "health_status": health,
    }
    status = {"cluster_statuses": [{"name": V1, "host_statuses": [host]}]}
    assert parse_hosts(status, V1) == {7: Host(healthy, 2)}
    assert parse_hosts(status, V2) == {}


def test_requests_that_no_fleet_has_got_are_arriving() -> None:
    gauges = {
        "http.seaway.downstream_rq_active": 9,
        f"cluster.{gateway.stat_name(V1)}.upstream_rq_active": 3,
        f"cluster.{gateway.stat_name(V1)}.upstream_rq_pending_active": 1,
        f"cluster.{gateway.stat_name(V2)}.upstream_rq_active": 2,
        "cluster.seaway-async.upstream_rq_active": 1,
    }
    stats = {"stats": [{"name": name, "value": value} for name, value in gauges.items()]}
    assert parse_arriving(stats) == 2
    assert parse_arriving(stats, {V2}) == 4
    assert parse_arriving({"stats": stats["stats"][1:]}) == 0


# ---- what a local target remembers ------------------------------------------------------------------------


def ports() -> Callable[[], Instance]:
    numbers = count(1000)
    return lambda: Instance(next(numbers))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_a_record_has_the_wanted_count_and_no_port_twice(wishes: list[int]) -> None:
    record, new_port = Record(fleet()), ports()
    for now, wanted in enumerate(wishes):
        record = record.wanting(fleet(wanted), float(now), new_port)
        assert len(record.serving) == wanted
        assert record.wanting(fleet(wanted), now + 0.5, new_port) == record
        assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert len({one.port for one in record.instances}) == len(record.instances) == max(wishes)


@pytest.mark.parametrize(
    ("looks", "crashes"),
    [
        ([("RUNNING", 5), ("RUNNING", 5)], 0),
        ([("RUNNING", 5), ("RUNNING", 6)], 1),
        ([("STARTING", 5), ("BACKOFF", 0), ("BACKOFF", 0), ("FATAL", 0)], 1),
        ([("BACKOFF", 0), ("STARTING", 6), ("FATAL", 0)], 2),
        ([("RUNNING", 5), ("STOPPING", 5), ("STOPPED", 0), ("RUNNING", 6)], 0),
    ],
)
def test_a_crash_is_an_end_that_nobody_asked_for(looks: list[tuple[str, int]], crashes: int) -> None:
    instance = Instance(1000)
    for state, pid in looks:
        instance = instance.looked_at(state, pid)
    assert instance.crashes == crashes


def test_a_restarted_supervisor_is_no_crash() -> None:
    record = Record(fleet(), (Instance(1, pid=5),), supervisor=1).under(2)
    assert record.instances[0].looked_at("RUNNING", 6).crashes == 0


def test_pauses_between_revivals_grow_to_a_minute() -> None:
    assert [Instance(1, revivals=n).pause for n in (0, 1, 2, 6, 500)] == [1, 2, 4, 60, 60]


# ---- the target in memory ---------------------------------------------------------------------------------


@given(st.integers(0, 100), st.integers(0, 500))
def test_the_target_in_memory_books_every_request(weight: int, requests: int) -> None:
    target = MemoryTarget()
    old, new = fleet(), Fleet("flights", "v2", "b" * 64, Path("m"), 1)
    target.behaviours[new.id] = Behaviour(error_5xx=0.5, latency_ms=40)
    target.start(old)
    target.start(new)
    target.route("flights", (Share(old.id, "v1", 100 - weight), Share(new.id, "v2", weight)))
    assert target.serve("flights", requests) == 0
    totals = {name: seen["memory"] for name, seen in target.observe("flights").items()}
    assert totals[old.id].requests + totals[new.id].requests == requests
    assert abs(totals[new.id].requests - requests * weight / 100) < 1
    assert abs(totals[new.id].errors_5xx - totals[new.id].requests / 2) < 1
    assert dict(totals[new.id].latency)[30.0] == 0
    assert dict(totals[new.id].latency)[40.0] == totals[new.id].requests
