"""Half a year of real flights: drift with its window, quality when labels come, retraining, recovery, and back.

A minute stands for some days of 2013. The endpoint is called by boto3, from the example's own script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.rollout import Phase
from flows.monitoring.logbook import Logbook
from tests.e2e.stack import seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.waits, pytest.mark.timeout(1200)]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flights"
ENDPOINT = "late-arrivals"
MINUTE = timedelta(minutes=1)


class Airport:
    """Sends flights of some days and knows later which were late."""

    def __init__(self, stack, folder):
        self.stack, self.folder = stack, folder
        address = urllib.parse.urlsplit(stack.wiring.invocations(ENDPOINT))
        self.url = f"{address.scheme}://{address.netloc}"

    def fly(self, first, last, every, *more):
        """Returns the minute in which they were sent, and the file of their labels."""
        labels = self.folder / f"{first}.csv"
        done = subprocess.run(
            [sys.executable, str(EXAMPLE / "serve.py"), "--from", first, "--to", last, "--every", str(every),
             "--url", self.url, "--labels", str(labels), *more],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout)
        assert told["failed"] == 0
        began, ended = (datetime.fromisoformat(told[name]) for name in ("from", "to"))
        return minute(began), minute(ended), labels

    def land(self, labels):
        """The labels arrive."""
        done = seaway(self.stack, "labels", "add", ENDPOINT, str(labels), "--json")
        assert done.returncode == 0, done.stderr


def minute(moment):
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def told(stack, *words):
    done = seaway(stack, "monitor", *words, "--json")
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)


def execution(stack, schedule, start):
    """The finished execution of a schedule whose window begins at a minute, or None."""
    for one in told(stack, "list", ENDPOINT, "--schedule", schedule, "--last", "100"):
        if datetime.fromisoformat(one["start_time"]) == start and one["status"].startswith("Completed"):
            return one
    return None


def drifted(execution):
    """Columns whose distribution is further from the baseline than allowed."""
    found = execution["violations"]
    return {one["feature_name"] for one in found if one["constraint_check_type"] == "baseline_drift_check"}


def precision(book, start):
    """Precision by labels of the window that begins at a minute, from the schedule's history; None before."""
    for point in book.history.figures(ENDPOINT, "precision", "model-quality"):
        if point.window.start == start and not point.figure.estimated:
            return point
    return None


def newer(stack, version):
    """The version that came after another one, once it is there."""
    latest = stack.wiring.registry.versions(version.model)[0]
    return latest if int(latest.version) > int(version.version) else None


def ringing(book, alarm):
    """Whether an alarm is in alert. Asked of the store: a command each time would keep a core busy."""
    return any(one.alarm == alarm and one.status.value == "InAlert" for one in book.alerts.alerts(ENDPOINT))


def serving(stack):
    """The version that production serves, when nothing is being rolled out."""
    endpoint = stack.wiring.store.endpoint(ENDPOINT)
    return endpoint.stable.version if endpoint and not stack.wiring.store.active(ENDPOINT) else None


def test_half_a_year_of_flights(stack, tmp_path):
    first, _ = stack.build(EXAMPLE / "project-monitored.yaml", model=ENDPOINT)
    assert stack.deploy(first).state.phase is Phase.PROMOTED
    airport, book = Airport(stack, tmp_path), Logbook.of(stack.wiring.engine)
    july = airport.fly("07-01", "07-31", 24, "--align")
    august = airport.fly("08-01", "08-31", 24, "--align")
    september = airport.fly("09-16", "09-20", 1, "--align")
    for _, _, labels in (july, august, september):
        airport.land(labels)

    # The class balance drifts, and the first window that says so is September's.
    until(lambda: ringing(book, "class-balance"), 240, lambda: told(stack, "alerts", ENDPOINT))
    late = execution(stack, "data-quality", september[0])
    assert "@predicted_label" in drifted(late)
    assert late["rows"] > 4800
    for start, _, _ in (july, august):
        assert "@predicted_label" not in drifted(execution(stack, "data-quality", start))

    # Labels have come: precision has fallen below what its interval allows, and a retraining pays.
    until(lambda: ringing(book, "precision"), 180, lambda: told(stack, "alerts", ENDPOINT))
    fallen = precision(book, september[0])
    assert fallen.figure.high < 0.86 < precision(book, july[0]).figure.value
    until(lambda: book.decisions.latest(ENDPOINT, "retrain"), 60, "a decision about retraining")
    (decision,) = told(stack, "decisions", ENDPOINT)
    assert (decision["about"], decision["acted"]) == ("retrain", True), decision
    second = until(lambda: newer(stack, first), 180, "the retrained version")

    # A person approves; flights go on while the canary runs.
    going = threading.Thread(target=airport.fly, args=("09-21", "09-25", 2, "--rate", "40"))
    going.start()
    rollout = stack.deploy(second)
    going.join()
    assert rollout.state.phase is Phase.PROMOTED, rollout
    again = airport.fly("09-21", "09-30", 2, "--align")
    airport.land(again[2])
    recovered = until(lambda: precision(book, again[0]), 240, "precision of the new version")
    assert recovered.variant == f"v{second.version}"
    assert recovered.figure.value > fallen.figure.value + 0.05

    # In December the version of the summer misses more than its predecessor would: the guard goes back.
    december = airport.fly("12-01", "12-31", 6)
    airport.land(december[2])
    until(lambda: serving(stack) == first.version, 240, lambda: told(stack, "decisions", ENDPOINT))
    back = [one for one in told(stack, "decisions", ENDPOINT) if one["about"] == "guard" and one["acted"]]
    assert len(back) == 1, back
    _may_be_asked_scraped_and_stopped(stack, september[0])


def _may_be_asked_scraped_and_stopped(stack, start):
    span = [f"{moment:%Y-%m-%dT%H:%M:%S}+00:00" for moment in (start, start + MINUTE)]
    asked = seaway(
        stack, "monitor", "run", ENDPOINT, "--from", span[0], "--to", span[1],
        "--kind", "data-quality", "--fail-on-violation", "--json",
    )  # fmt: skip
    assert asked.returncode == 1
    (looked,) = json.loads(asked.stdout)
    assert looked["schedule"] == "now-data-quality"
    assert "@predicted_label" in drifted(looked)
    scraped = stack.http.get(f"{stack.wiring.settings.url('controller')}/metrics").text
    wanted = (f'endpoint="{ENDPOINT}"', 'metric_name="feature_baseline_drift_@predicted_label"')
    assert any(all(one in line for one in wanted) for line in scraped.splitlines())
    assert told(stack, "stop", ENDPOINT)["status"] == "Stopped"
    assert seaway(stack, "monitor", "stop", ENDPOINT).returncode == 1
