"""A shadow test on a real platform: predictions, errors and latency of both sides, paired by event id."""

from __future__ import annotations

import itertools
import json

import pytest

from deploy.rollout import Phase
from tests.e2e.harbour import live
from tests.e2e.stack import lines, seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(480)]
REQUESTS, BAD = 40, 10


def fewest(folder):
    """Lines in complete files of the variant that has fewest; 0 before there are two."""
    sides = [lines(one) for one in folder.iterdir()] if folder.is_dir() else []
    return min(sides) if len(sides) == 2 else 0


def test_the_report_pairs_what_went_well_and_what_did_not(stack, harbour, tmp_path):
    endpoint = harbour.model
    first, _ = stack.build(harbour.write("v1", features=["draught"], capture={}))
    assert stack.deploy(first).state.phase is Phase.PROMOTED
    second, _ = stack.build(harbour.write("v2", capture={}, approval=True))
    stack.approve(second)
    run = stack.run_of(second)
    until(lambda: stack.wiring.trigger.state(run).type == "PAUSED", 90, "the second gate")
    started = seaway(stack, "shadow", "start", endpoint, "2", "--share", "100%", "--for", "1h")
    assert started.returncode == 0, started.stderr

    url = stack.wiring.invocations(endpoint)
    records = itertools.cycle(live())
    shadow = stack.wiring.store.arrangement(endpoint).variants[0].release
    with stack.gateways() as admin:
        fleet = shadow.fleet(endpoint, stack.wiring.archives).id

        def copied():
            assert stack.http.post(url, json={"instances": [next(records)]}).status_code == 200
            seen = admin.counters(f"{endpoint}.").get(fleet, {})
            return sum(counters.requests for counters in seen.values()) > 0

        until(copied, 60, "a copy of the traffic")
    for _ in range(REQUESTS):
        assert stack.http.post(url, json={"instances": [next(records)]}).status_code == 200
    for _ in range(BAD):
        assert stack.http.post(url, json={"instances": "none"}).status_code in {400, 424}

    outcomes, captures = (stack.home / name / endpoint for name in ("captures-outcomes", "captures"))
    until(lambda: fewest(outcomes) > REQUESTS + BAD, 150, "outcomes of both sides")
    until(lambda: fewest(captures) > REQUESTS, 60, "captures of both sides")
    done = seaway(stack, "shadow", "report", endpoint, "--from", "1h", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    errors = found["errors"]
    assert (errors["both"], errors["only_candidate"]) == (BAD, 0)
    assert found["pairs"] == found["latency"]["pairs"] == errors["neither"] > REQUESTS
    assert found["noted"]["only_candidate"] == 0
    page = tmp_path / "shadow.html"
    shown = seaway(stack, "shadow", "report", endpoint, "--html", str(page))
    assert "By status of the answers" in shown.stdout
    assert "Latency in milliseconds" in page.read_text()
