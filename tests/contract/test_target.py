"""What every deployment target promises: in memory, with real processes, and with real containers."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Protocol, Self

import httpx
import pytest

from deploy.counting import increase
from deploy.envoy import ConfigFolder
from deploy.errors import GatewayUnreachable, PackageDamaged, RolloutRefused
from deploy.gateways import Gateways
from deploy.port import Fleet, Share, Target
from deploy.supervise import Supervisor
from deploy.targets.local import LocalTarget
from deploy.targets.memory import Behaviour, MemoryTarget
from monitoring.alarms import Sample
from tests.fakes.data_plane import Envoy, running_envoy, wait_until
from tests.fakes.place import BehindEnvoys
from tests.multiplier import multiplier

_NUMBERS = count(1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Place(Protocol):
    """A target, and what a test needs around it."""

    @property
    def target(self) -> Target: ...
    def fleet(self, endpoint: str, variant: str, instances: int = 1) -> Fleet: ...
    def damaged(self, endpoint: str) -> Fleet: ...
    def send(self, endpoint: str, requests: int) -> int: ...
    def crash_gateway(self) -> None: ...
    def again(self) -> Target: ...


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


@dataclass
class LocalPlace(BehindEnvoys):
    home: Path
    supervisor: Supervisor
    envoys: tuple[Envoy, ...]
    admin: Gateways
    http: httpx.Client
    packages: dict[str, tuple[Path, str]]

    def __post_init__(self) -> None:
        self.target = self.again()

    def again(self) -> LocalTarget:
        return LocalTarget(self.home, self.supervisor, self.admin, self.envoys[0].folder)

    def instance(self, fleet: Fleet, index: int = 0) -> tuple[str, int]:
        """Name and process id of an instance."""
        states = sorted(s.name for s in self.supervisor.states().values() if s.name.startswith(fleet.id))
        return states[index], self.supervisor.states()[states[index]].pid


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlace]:
    home = tmp_path_factory.mktemp("home")
    packages = {name: multiplier(home / name, factor) for name, factor in (("v1", 2.0), ("v2", 3.0))}
    packages["broken"] = multiplier(home / "broken", 1.0, broken=True)
    supervisor = Supervisor(home)
    supervisor.launch()
    try:
        with (
            running_envoy(ConfigFolder(home / "envoy")) as first,
            running_envoy(first.folder, beside=first) as second,
            closing(Gateways({"first": first.admin(), "second": second.admin()})) as admin,
            httpx.Client(base_url=first.url, timeout=30) as http,
        ):
            yield LocalPlace(home, supervisor, (first, second), admin, http, packages)
    finally:
        supervisor.shutdown()


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


def settle(place: Place, *fleets: Fleet) -> None:
    """Start fleets and wait until they are complete, as the controller would."""

    def complete() -> bool:
        for fleet in fleets:
            place.target.start(fleet)
        return all(place.target.ready(fleet).complete for fleet in fleets)

    wait_until(complete, seconds=60, step=0.1)


def end(place: Place, endpoint: str, *fleets: Fleet) -> None:
    place.target.route(endpoint, ())
    for fleet in fleets:

        def gone(fleet: Fleet = fleet) -> bool:
            place.target.stop(fleet)
            return place.target.ready(fleet).wanted == 0

        wait_until(gone, seconds=60, step=0.1)


def whole(fleet: Fleet) -> tuple[Share, ...]:
    return (Share(fleet.id, fleet.variant, 100),)


# ---- the contract -----------------------------------------------------------------------------------------


def test_a_fleet_nobody_started_is_not_wanted(place: Place, endpoint: str) -> None:
    readiness = place.target.ready(place.fleet(endpoint, "v1"))
    assert (readiness.ready, readiness.wanted, readiness.complete) == (0, 0, False)
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


# ---- real processes only ----------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that call without a pause, each on its own connection."""

    place: LocalPlace
    endpoint: str
    clients: int = 2
    statuses: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(base_url=self.place.envoys[0].url, timeout=30) as http:
            while not self._over.is_set():
                try:
                    answer = http.post(
                        f"/endpoints/{self.endpoint}/invocations", json={"instances": [{"x": 3.0}]}
                    )
                except httpx.HTTPError as error:
                    self.statuses[type(error).__name__] += 1
                    continue
                self.statuses[str(answer.status_code)] += 1
                self.variants[answer.headers.get("x-amzn-invoked-production-variant", "")] += 1

    @property
    def failed(self) -> int:
        return self.statuses.total() - self.statuses["200"]


@pytest.mark.integration
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


@pytest.mark.integration
def test_two_hundred_weight_changes_under_load_fail_no_request(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1"), local.fleet(endpoint, "v2")
    settle(local, old, new)
    local.target.route(endpoint, whole(old))
    with Load(local, endpoint) as load:
        for change in range(200):
            weight = change * 37 % 101
            local.target.route(endpoint, (Share(old.id, "v1", 100 - weight), Share(new.id, "v2", weight)))
    print(f"200 weight changes, {load.statuses.total()} requests, {load.failed} failed")
    assert load.failed == 0, load.statuses
    assert load.statuses.total() > 200
    assert set(load.variants) == {"v1", "v2"}
    end(local, endpoint, old, new)


@pytest.mark.integration
def test_whole_fleets_come_and_go_under_load_without_a_failure(local: LocalPlace, endpoint: str) -> None:
    old, new = local.fleet(endpoint, "v1", 2), local.fleet(endpoint, "v2", 1)
    settle(local, old)
    local.target.route(endpoint, whole(old))
    with Load(local, endpoint) as load:
        settle(local, replace(old, instance_count=1))
        settle(local, new)
        local.target.route(endpoint, whole(new))

        def gone() -> bool:
            local.target.stop(old)
            return local.target.ready(old).wanted == 0

        wait_until(gone, seconds=30, step=0.1)
        assert not [name for name in local.supervisor.states() if name.startswith(old.id)]
    assert load.failed == 0, load.statuses
    end(local, endpoint, new)


@pytest.mark.integration
def test_a_killed_instance_costs_at_most_what_it_was_answering_and_comes_back(
    local: LocalPlace, endpoint: str
) -> None:
    fleet = local.fleet(endpoint, "v1", 2)
    settle(local, fleet)
    local.target.route(endpoint, whole(fleet))
    with Load(local, endpoint) as load:
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


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.integration
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
