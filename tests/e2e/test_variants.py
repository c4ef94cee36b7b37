"""Several versions behind one endpoint: A/B with sticky clients, and a shadow test that is promoted."""

from __future__ import annotations

import json

import pytest

from deploy.rollout import Phase
from tests.e2e.harbour import live
from tests.e2e.load import Load
from tests.e2e.stack import seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def by_client(stack, endpoint, record, count=60):
    found = {}
    for number in range(count):
        answer = stack.http.post(
            stack.wiring.invocations(endpoint),
            json={"instances": [record]},
            headers={"x-user": f"user-{number}"},
        )
        assert answer.status_code == 200, answer.text
        found[number] = answer.headers["x-amzn-invoked-production-variant"]
    return found


def test_variants(stack, harbour):
    endpoint, record = harbour.model, live(1)[0]
    first, _ = stack.build(harbour.write("v1", features=["draught"], sticky="header:x-user"))
    assert stack.deploy(first).state.phase is Phase.PROMOTED
    second, _ = stack.build(harbour.write("v2", sticky="header:x-user", approval=True))

    early = seaway(stack, "variants", "add", endpoint, "2", "--weight", "1")
    assert (early.returncode, "approve it first" in early.stderr) == (1, True)
    stack.approve(second)
    run = stack.run_of(second)
    until(lambda: stack.wiring.trigger.state(run).type == "PAUSED", 90, "the second gate")

    with Load(stack.wiring.invocations(endpoint), live(), rate=40.0) as load:
        added = seaway(stack, "variants", "add", endpoint, "2", "--weight", "1", "--json")
        assert added.returncode == 0, added.stderr
        assert [row["share"] for row in json.loads(added.stdout)] == ["50.0%", "50.0%"]
        until(lambda: "v2" in by_client(stack, endpoint, record, 12).values(), 60, "traffic on v2")
        half = by_client(stack, endpoint, record)
        assert by_client(stack, endpoint, record) == half
        assert seaway(stack, "weights", endpoint, "v1=1", "v2=3").returncode == 0
        until(lambda: by_client(stack, endpoint, record) != half, 60, "the new weights")
        more = by_client(stack, endpoint, record)
        assert all(more[client] == "v2" for client, variant in half.items() if variant == "v2")
        unknown = seaway(stack, "weights", endpoint, "v9=1")
        assert (unknown.returncode, "there are: v1, v2" in unknown.stderr) == (1, True)
        assert seaway(stack, "variants", "remove", endpoint, "v2").returncode == 0
        until(lambda: set(by_client(stack, endpoint, record, 12).values()) == {"v1"}, 60, "v1 alone")
    assert load.failed() == []

    with Load(stack.wiring.invocations(endpoint), live(), rate=40.0) as load:
        started = seaway(stack, "shadow", "start", endpoint, "2", "--share", "100%", "--for", "1h")
        assert started.returncode == 0, started.stderr
        again = seaway(stack, "shadow", "promote", endpoint)
        assert (again.returncode, "needs its second approval" in again.stderr) == (1, True)
        shadow = stack.wiring.store.arrangement(endpoint).variants[0].release
        fleet = shadow.fleet(endpoint, stack.wiring.archives).id

        with stack.gateways() as gateways:

            def copied():
                seen = gateways.counters(f"{endpoint}.").get(fleet, {})
                return sum(counters.requests for counters in seen.values()) > 20

            until(copied, 60, "copies of the traffic")
        assert {one.variant for one in load.sent} == {"v1"}
        approved = seaway(stack, "approve", harbour.model, "2", "--stage", "production", "--by", "bob")
        assert approved.returncode == 0, approved.stderr
        assert stack.ended(run).name == "Promoted"
        until(lambda: set(by_client(stack, endpoint, record, 12).values()) == {"v2"}, 60, "v2 alone")
    assert load.failed() == []
    until(lambda: not stack.wiring.store.arrangement(endpoint).variants, 60, "no variant beside it")
