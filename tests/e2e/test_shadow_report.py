"""A shadow test on a real platform: predictions, errors and latency of both sides, paired by event id."""

from __future__ import annotations

import json

import pytest

from deploy.rollout import Phase
from tests.e2e.harbour import live
from tests.e2e.stack import lines, seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(480)]
REQUESTS, BAD = 40, 10


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
    for record in live(REQUESTS):
        assert stack.http.post(url, json={"instances": [record]}).status_code == 200
    for _ in range(BAD):
        assert stack.http.post(url, json={"instances": "none"}).status_code in {400, 424}

    outcomes, captures = (stack.home / name / endpoint for name in ("captures-outcomes", "captures"))
    until(lambda: lines(outcomes) >= 2 * (REQUESTS + BAD), 120, "outcomes of both sides")
    until(lambda: lines(captures) >= 2 * REQUESTS, 30, "captures of both sides")
    done = seaway(stack, "shadow", "report", endpoint, "--from", "1h", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    errors = found["errors"]
    assert (errors["neither"], errors["both"], errors["only_candidate"]) == (REQUESTS, BAD, 0)
    assert (found["pairs"], found["latency"]["pairs"]) == (REQUESTS, REQUESTS)
    assert found["noted"]["only_candidate"] == 0
    page = tmp_path / "shadow.html"
    shown = seaway(stack, "shadow", "report", endpoint, "--html", str(page))
    assert "By status of the answers" in shown.stdout
    assert "Latency in milliseconds" in page.read_text()
