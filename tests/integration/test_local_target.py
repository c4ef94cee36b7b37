"""The local target under load and when processes die: instances, gateways, the supervisor."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import httpx
import pytest

from deploy.counting import increase
from deploy.errors import GatewayUnreachable
from deploy.port import Share
from tests.fakes.data_plane import wait_until
from tests.fleets import Load, end, settle, whole
from tests.local_target import LocalPlace

pytestmark = pytest.mark.integration
_NUMBERS = count(1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def endpoint() -> str:
    return f"local-{next(_NUMBERS)}"


def test_predictions_are_those_of_the_variant_that_is_named(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1"), local.fleet(endpoint, "v2")
    settle(local, old, new)
    local.target.route(endpoint, (Share(old.id, "v1", 50), Share(new.id, "v2", 50)))
    seen = {
        (answer.headers["x-amzn-invoked-production-variant"], answer.json()["predictions"][0]["score"])
        for answer in (local.ask(endpoint) for _ in range(50))
    }
    assert seen == {("v1", 6.0), ("v2", 9.0)}
    end(local, endpoint, old, new)


def test_two_hundred_weight_changes_under_load_fail_no_request(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1"), local.fleet(endpoint, "v2")
    settle(local, old, new)
    local.target.route(endpoint, whole(old))
    with Load(local.envoys[0].url, endpoint) as load:
        for change in range(200):
            weight = change * 37 % 101
            local.target.route(endpoint, (Share(old.id, "v1", 100 - weight), Share(new.id, "v2", weight)))
    print(f"200 weight changes, {load.statuses.total()} requests, {load.failed} failed")
    assert load.failed == 0, load.statuses
    assert load.statuses.total() > 200
    assert set(load.variants) == {"v1", "v2"}
    end(local, endpoint, old, new)


def test_whole_fleets_come_and_go_under_load_without_a_failure(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1", 2), local.fleet(endpoint, "v2", 1)
    settle(local, old)
    local.target.route(endpoint, whole(old))
    with Load(local.envoys[0].url, endpoint) as load:
        settle(local, replace(old, instance_count=1))
        settle(local, new)
        local.target.route(endpoint, whole(new))

        def gone() -> bool:
            local.target.stop(old)
            return local.target.ready(old).wanted == 0

        wait_until(gone, step=0.1)
        assert not [name for name in local.supervisor.states() if name.startswith(old.id)]
    assert load.failed == 0, load.statuses
    end(local, endpoint, new)


def test_a_killed_instance_costs_at_most_what_it_was_answering_and_comes_back(
    local: LocalPlace, endpoint: str
) -> None:
    fleet = local.fleet(endpoint, "v1", 2)
    settle(local, fleet)
    local.target.route(endpoint, whole(fleet))
    with Load(local.envoys[0].url, endpoint) as load:
        _, pid = local.instance(fleet)
        answered = load.statuses.total()
        wait_until(lambda: load.statuses.total() > answered + 50)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: local.target.ready(fleet).crashes == 1)
        settle(local, fleet)
    assert load.failed <= load.clients, load.statuses
    assert set(load.statuses) <= {"200", "424"}
    readiness = local.target.ready(fleet)
    assert (readiness.ready, readiness.crashes, readiness.message) == (2, 1, "")
    end(local, endpoint, fleet)


def test_a_model_that_does_not_load_says_why_and_is_tried_again(local: LocalPlace, endpoint: str) -> None:
    fleet = local.fleet(endpoint, "broken")
    local.target.start(fleet)
    wait_until(lambda: local.target.ready(fleet).crashes >= 2, seconds=60, step=0.1)
    assert "cannot serve" in local.target.ready(fleet).message

    def revived() -> bool:
        local.target.ready(fleet)
        remembered = json.loads((local.home / "fleets" / f"{fleet.id}.json").read_text())
        return bool(remembered["instances"][0]["revivals"] >= 1)

    wait_until(revived, seconds=60, step=0.2)
    end(local, endpoint, fleet)


def test_one_dead_gateway_refuses_nobody_and_loses_no_count(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1"), local.fleet(endpoint, "v2")
    settle(local, old, new)
    local.target.route(endpoint, whole(old))
    before = local.target.observe(endpoint)
    first = increase({}, before.get(old.id, {}), NOW).requests
    assert _fresh_connections(local, endpoint, 40) == [6.0] * 40
    at_death = {**before.get(old.id, {}), **local.target.observe(endpoint)[old.id]}
    assert all(counters.requests for counters in at_death.values()), "both gateways took some"
    first += increase(before.get(old.id, {}), at_death, NOW).requests
    local.envoys[0].kill()
    try:
        assert local.target.ready(old).complete
        local.target.route(endpoint, whole(new))
        assert _fresh_connections(local, endpoint, 20) == [9.0] * 20
        local.target.route(endpoint, whole(old))
        assert _fresh_connections(local, endpoint, 20) == [6.0] * 20
        alone = local.target.observe(endpoint)[old.id]
        assert set(alone) == {"second"}
        second = increase(at_death, alone, NOW).requests
    finally:
        local.envoys[0].start()
    settle(local, old, new)
    assert _fresh_connections(local, endpoint, 40) == [6.0] * 40
    third = increase({**at_death, **alone}, local.target.observe(endpoint)[old.id], NOW).requests
    assert (first, second, third) == (40, 20, 40)
    end(local, endpoint, old, new)


def _fresh_connections(local: LocalPlace, endpoint: str, count: int) -> list[float]:
    """Answers to requests on a connection each: the kernel spreads connections over the gateways."""
    url = f"{local.envoys[0].url}/endpoints/{endpoint}/invocations"
    answers = [httpx.post(url, json={"instances": [{"x": 3.0}]}, timeout=30) for _ in range(count)]
    return [answer.raise_for_status().json()["predictions"][0]["score"] for answer in answers]


def test_without_a_gateway_looking_fails_and_wishes_are_kept(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1"), local.fleet(endpoint, "v2")
    settle(local, old, new)
    local.target.route(endpoint, whole(old))
    for envoy in local.envoys:
        envoy.kill()
    try:
        for call in (
            lambda: local.target.ready(old),
            lambda: local.target.observe(endpoint),
            lambda: local.target.route(endpoint, whole(new)),
        ):
            with pytest.raises(GatewayUnreachable):
                call()
    finally:
        for envoy in local.envoys:
            envoy.start()
    settle(local, old, new)
    assert local.ask(endpoint).json()["predictions"] == [{"score": 9.0}]
    end(local, endpoint, old, new)


def test_a_supervisor_that_ended_brings_everything_back(local: LocalPlace, endpoint: str) -> None:
    fleet = local.fleet(endpoint, "v1")
    settle(local, fleet)
    local.target.route(endpoint, whole(fleet))
    local.supervisor.shutdown()
    local.supervisor.launch()
    settle(local, fleet)
    wait_until(lambda: local.ask(endpoint).status_code == 200)
    assert local.target.ready(fleet).crashes == 0
    end(local, endpoint, fleet)
