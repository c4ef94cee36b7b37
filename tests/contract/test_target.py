"""What every deployment target promises: in memory, with real processes, and with real containers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from deploy.counting import increase
from deploy.errors import PackageDamaged, RolloutRefused
from deploy.port import Fleet, Share, Target
from deploy.targets.memory import Behaviour, MemoryTarget
from monitoring.alarms import Sample
from tests.fakes.data_plane import wait_until
from tests.fleets import Place, end, settle, whole

_NUMBERS = count(1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class MemoryPlace:
    target: MemoryTarget = field(default_factory=MemoryTarget)

    def fleet(self, endpoint: str, variant: str, instances: int = 1) -> Fleet:
        made = Fleet(endpoint, variant, variant.encode().hex().ljust(64, "0"), Path("m.tar.gz"), instances)
        self.target.behaviours.setdefault(made.id, Behaviour(looks=2))
        return made

    def damaged(self, endpoint: str) -> Fleet:
        made = self.fleet(endpoint, "bad")
        self.target.behaviours[made.id] = Behaviour(damaged=True)
        return made

    def send(self, endpoint: str, requests: int) -> int:
        return self.target.serve(endpoint, requests)

    def crash_gateway(self) -> None:
        self.target.crash_gateway()

    def again(self) -> Target:
        return self.target


@pytest.fixture(
    params=[
        "memory",
        pytest.param("local", marks=pytest.mark.integration),
        pytest.param("docker_place", marks=pytest.mark.docker, id="docker"),
    ]
)
def place(request: pytest.FixtureRequest) -> Place:
    chosen: Place = MemoryPlace() if request.param == "memory" else request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def endpoint() -> str:
    return f"endpoint-{next(_NUMBERS)}"


def answered(place: Place, endpoint: str) -> dict[str, Sample]:
    """All that each fleet answered since the gateways started."""
    return {fleet: increase({}, seen, NOW) for fleet, seen in place.target.observe(endpoint).items()}


def test_a_fleet_nobody_started_is_not_wanted(place: Place, endpoint: str) -> None:
    readiness = place.target.ready(place.fleet(endpoint, "v1"))
    assert (readiness.ready, readiness.wanted, readiness.complete, readiness.gone) == (0, 0, False, True)
    place.target.stop(place.fleet(endpoint, "v1"))


def test_a_started_fleet_becomes_ready_and_answers(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    place.target.start(fleet)
    assert not place.target.ready(fleet).complete
    settle(place, fleet)
    readiness = place.target.ready(fleet)
    assert (readiness.ready, readiness.wanted, readiness.crashes, readiness.message) == (1, 1, 0, "")
    place.target.route(endpoint, whole(fleet))
    assert place.send(endpoint, 10) == 0
    end(place, endpoint, fleet)


def test_a_package_with_another_digest_is_refused(place: Place, endpoint: str) -> None:
    fleet = place.damaged(endpoint)
    with pytest.raises(PackageDamaged):
        place.target.start(fleet)
    assert place.target.ready(fleet).wanted == 0


def test_scaling_is_starting_with_another_count(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    for wanted in (3, 1, 2):
        settle(place, replace(fleet, instance_count=wanted))
        assert place.target.ready(fleet).wanted == wanted
        assert place.send(endpoint, 10) == 0
    end(place, endpoint, fleet)


def test_a_fleet_scales_to_none_and_back(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))

    def asleep() -> bool:
        place.target.start(replace(fleet, instance_count=0))
        return place.send(endpoint, 1) == 1

    for _ in range(2):
        wait_until(asleep, seconds=60, step=0.1)
        place.target.route(endpoint, whole(fleet))
        readiness = place.target.ready(fleet)
        assert (readiness.wanted, readiness.complete, readiness.gone) == (0, False, False)
        settle(place, replace(fleet, instance_count=2))
        assert place.send(endpoint, 10) == 0
    wait_until(asleep, seconds=60, step=0.1)
    place.target.route(endpoint, ())

    def gone() -> bool:
        place.target.stop(fleet)
        return place.target.ready(fleet).gone

    wait_until(gone, seconds=60, step=0.1)


def test_traffic_follows_the_split_and_is_counted_by_fleet(place: Place, endpoint: str) -> None:
    old, new = place.fleet(endpoint, "v1"), place.fleet(endpoint, "v2")
    settle(place, old, new)
    place.target.route(endpoint, whole(old))
    assert place.send(endpoint, 20) == 0
    for _ in range(2):
        place.target.route(endpoint, whole(new))
    assert place.send(endpoint, 30) == 0
    totals = answered(place, endpoint)
    assert {fleet: seen.requests for fleet, seen in totals.items()} == {old.id: 20, new.id: 30}
    assert all(seen.errors_4xx == seen.errors_5xx == 0 for seen in totals.values())
    wait_until(lambda: answered(place, endpoint)[new.id].latency[-1] == (float("inf"), 30))
    end(place, endpoint, old, new)


def test_a_mirror_gets_copies(place: Place, endpoint: str) -> None:
    old, new = place.fleet(endpoint, "v1"), place.fleet(endpoint, "v2")
    settle(place, old, new)
    place.target.route(endpoint, (Share(old.id, "v1", 100), Share(new.id, "v2", 0, mirror=100)))
    assert place.send(endpoint, 25) == 0
    wait_until(lambda: answered(place, endpoint)[new.id].requests == 25)
    assert answered(place, endpoint)[old.id].requests == 25
    end(place, endpoint, old, new)


def test_an_empty_split_removes_the_endpoint(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    place.target.route(endpoint, ())
    place.target.route(endpoint, ())
    assert place.send(endpoint, 5) == 5
    end(place, endpoint, fleet)


def test_senseless_splits_are_refused(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    with pytest.raises(RolloutRefused, match="does not run"):
        place.target.route(endpoint, whole(fleet))
    settle(place, fleet)
    with pytest.raises(ValueError, match="100"):
        place.target.route(endpoint, (Share(fleet.id, "v1", 99),))
    end(place, endpoint, fleet)


def test_a_fleet_with_traffic_is_not_stopped(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    place.target.stop(fleet)
    assert place.target.ready(fleet).complete
    assert place.send(endpoint, 5) == 0
    end(place, endpoint, fleet)
    end(place, endpoint, fleet)


def test_a_stopped_fleet_can_be_started_again(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.stop(fleet)
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    assert place.send(endpoint, 5) == 0
    end(place, endpoint, fleet)


def test_a_restarted_gateway_serves_on_and_counts_from_zero(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    assert place.send(endpoint, 20) == 0
    before = answered(place, endpoint)[fleet.id].requests
    place.crash_gateway()
    settle(place, fleet)
    assert place.send(endpoint, 5) == 0
    assert (before, answered(place, endpoint)[fleet.id].requests) == (20, 5)
    end(place, endpoint, fleet)


def test_a_new_object_goes_on(place: Place, endpoint: str) -> None:
    fleet = place.fleet(endpoint, "v1")
    settle(place, fleet)
    place.target.route(endpoint, whole(fleet))
    other = place.again()
    other.start(fleet)
    assert other.ready(fleet).complete
    other.route(endpoint, whole(fleet))
    assert place.send(endpoint, 5) == 0
    assert other.ready(fleet).crashes == 0
    end(place, endpoint, fleet)
