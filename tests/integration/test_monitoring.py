"""A whole run of monitoring on a real package, a real store and captures as the recorder writes them."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from deploy.errors import RolloutRefused
from flows.monitoring import running, watching
from flows.monitoring.executions import NO_DATA, AlertStatus, Execution, Status
from flows.monitoring.tables import CHAINS
from flows.monitoring.windows import SETTLE, Window, on_demand
from flows.trigger import PrefectUnreachable
from monitoring.drift import forest, reference
from tests.watched import HOUR, MONITOR, NOON, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def world(tmp_path, watched_package):
    made = World(tmp_path, watched_package, MONITOR)
    yield made
    made.engine.dispose()


def by_kind(outcome):
    return {one.kind: one for one in outcome.executions}


def test_a_planted_shift_is_found_and_an_honest_hour_is_not(world):
    world.capture(NOON - HOUR, rows=3000)
    world.capture(NOON, shift=1.0)
    world.now = NOON + HOUR
    calm = by_kind(world.run().on_demand(on_demand(NOON - HOUR, NOON)))["DataQuality"]
    drifted = [one for one in calm.violations if one.check == "baseline_drift_check"]
    assert (calm.rows, drifted) == (3000, [])
    assert [one.check for one in calm.violations if one.check == "row_outliers_check"] == []
    found = by_kind(world.run().on_demand(on_demand(NOON, NOON + HOUR)))["DataQuality"]
    assert found.status is Status.VIOLATED
    assert f"with {len(found.violations)} violations." in found.exit_message
    drifted = [one.subject[0][1] for one in found.violations if one.check == "baseline_drift_check"]
    assert "x" in drifted
    assert "z" not in drifted
    report = world.home / "reports/b/now-data-quality/2026/03/01/13"
    written = json.loads((report / "constraint_violations.json").read_text())
    assert len(written["violations"]) == len(found.violations)
    assert {file.name for file in report.iterdir()} >= {
        "cloudwatch.jsonl",
        "constraint_violations.json",
        "constraints.json",
        "statistics.json",
        "report.html",
        "summary.json",
    }
    summary = json.loads((report / "summary.json").read_text())
    assert (summary["status"], summary["version"], summary["rows"]) == ("CompletedWithViolations", "2", 700)


def test_all_kinds_have_their_baseline_and_their_verdict(world):
    world.label(world.capture(NOON - HOUR, rows=1500))
    found = by_kind(world.run().on_demand(on_demand(NOON - HOUR, NOON)))
    assert set(found) == {"DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"}
    assert {one.rows for kind, one in found.items() if kind != "ModelExplainability"} == {1500}
    assert found["ModelExplainability"].rows == 200
    assert not [
        note for one in found.values() for note in one.notes if "nothing was compared" in note.lower()
    ]
    assert [one.status for one in found.values() if one.kind != "DataQuality"] == [Status.COMPLETED] * 3
    names = {one.figure.name for one in world.run().logbook.history.figures("b", last=10_000)}
    assert names >= {"feature_baseline_drift_x", "f1", "bias_metric_DPL", "ndcg"}
    analysis = world.home / "reports/b/now-bias/2026/03/01/12/analysis.json"
    block = json.loads(analysis.read_text())["post_training_bias_metrics"]
    assert block["label"] == "y"
    assert block["facets"]["z"]


def test_a_window_without_rows_fails_as_sagemaker_s_does(world):
    world.watch()
    (quiet, *_) = world.run().scheduled().executions
    assert (quiet.status, quiet.reason, quiet.rows) == (Status.FAILED, NO_DATA, 0)
    assert world.run().scheduled().executions == ()


def test_each_window_is_looked_at_once_and_a_downtime_is_made_up_for(world):
    for hour in range(3):
        world.capture(NOON + hour * HOUR, seed=hour + 5)
    world.watch(NOON)
    world.now = NOON + 3 * HOUR + HOUR / 2
    outcome = world.run().scheduled()
    due = [one.window.scheduled for one in outcome.executions if one.kind == "DataQuality"]
    assert due == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert world.run().scheduled().sentence == "nothing was due"


def test_labels_that_come_late_change_their_hour_and_no_other(world):
    pairs = world.capture(NOON - HOUR)
    world.capture(NOON, name="b", seed=9)
    world.watch(NOON - HOUR)
    world.now = NOON + HOUR
    first = [one for one in world.run().scheduled().executions if one.kind == "ModelQuality"]
    assert [one.rows for one in first] == [0, 0]
    history = world.run().logbook.history
    estimated = [one for one in history.figures("b", "accuracy") if one.figure.estimated]
    assert len(estimated) == 2
    world.label(pairs[:400])
    world.now += HOUR / 4
    again = next(one for one in world.run().scheduled().again if one.kind == "ModelQuality")
    assert (again.kind, again.rows, again.window.scheduled, again.revision) == ("ModelQuality", 400, NOON, 2)
    measured = [one for one in history.figures("b", "accuracy") if not one.figure.estimated]
    known = [one.figure.value for one in measured if one.figure.value is not None]
    assert len(known) == 1
    assert 0.6 < known[0] < 0.95
    world.label(pairs[400:])
    world.now += HOUR / 4
    third = next(one for one in world.run().scheduled().again if one.kind == "ModelQuality")
    assert (third.rows, third.revision) == (700, 3)
    assert world.run().scheduled().again == ()
    versions = [one.version for one in history.figures("b", "label_coverage", every_version=True)]
    assert versions == [1, 3, 2, 1]


def test_an_alarm_asks_for_one_rollback_and_says_what_it_could_not_do(world):
    world.watch()
    for hour in range(3):
        world.capture(NOON - HOUR + hour * HOUR, shift=1.5, seed=hour + 20)
        world.now = NOON + hour * HOUR
        outcome = world.run().scheduled()
        assert bool(outcome.changed) == (hour == 1)
    kept = world.run().logbook.alerts
    assert kept.alert("b", "drift").status is AlertStatus.IN_ALERT
    done = {one.name: one.outcome for one in kept.taken("b")}
    assert done["notify"] == "nobody is named in notify"
    rollout = world.store.active("b")
    assert rollout.request.release.version == "1"
    assert rollout.request.restores
    assert rollout.request.requested_by.startswith("alarm drift: 2 of the latest 2 executions")
    assert done["rollback"] == f"version 1 is restored by rollout {rollout.request.id}"
    assert "retrain" in done


def test_what_a_person_stops_ends_as_stopped(world, monkeypatch):
    world.capture(NOON - HOUR)
    run = world.run()
    honest = running.analyse

    def stopping(kind, material):
        run.logbook.history.stop("b", NOON)
        return honest(kind, material)

    monkeypatch.setattr(running, "analyse", stopping)
    outcome = run.on_demand(on_demand(NOON - HOUR, NOON), ("DataQuality",))
    assert [one.status for one in outcome.executions] == [Status.STOPPED]
    assert run.logbook.history.figures("b") == ()


def test_the_same_run_goes_on_with_what_it_began(world):
    world.capture(NOON - HOUR)
    world.watch()
    run = world.run(flow_run="r")
    began = Execution(
        "b",
        "data-quality",
        "DataQuality",
        Window(NOON, NOON - HOUR, NOON),
        Status.PENDING,
        NOON,
        NOON,
        flow_run="r",
    )
    run.logbook.history.claim(began, NOON)
    other = world.run(flow_run="s").scheduled()
    assert [one.kind for one in other.executions] == ["ModelQuality", "ModelBias", "ModelExplainability"]
    assert [one.kind for one in run.scheduled().executions] == ["DataQuality"]


def test_part_of_an_hour(world):
    world.capture(NOON - HOUR)
    window = on_demand(NOON - HOUR, NOON - HOUR / 2)
    found = by_kind(world.run().on_demand(window))["DataQuality"]
    assert found.rows == pytest.approx(700 * 1800 / 3500, abs=1)


class Runs:
    """Flow runs by their keys, as Prefect keeps them; away while `down`."""

    def __init__(self):
        self.keys, self.down = [], False

    def create(self, deployment, parameters, key, tags=()):
        if self.down:
            raise PrefectUnreachable("away")
        assert (deployment, parameters) == ("monitor/monitor", {"endpoint": "b"})
        self.keys.append(key)


def test_a_run_is_called_for_once_for_every_scheduled_time(world):
    world.wiring.trigger = runs = Runs()
    watching.start(world.wiring, "b", NOON - HOUR / 2)
    caller = watching.Caller(world.wiring)
    assert caller.look(NOON + SETTLE / 2) == 0
    assert [caller.look(NOON + SETTLE + number * HOUR / 4) for number in range(6)] == [1, 0, 0, 0, 1, 0]
    again = watching.Caller(world.wiring)
    again.look(NOON + SETTLE + 1.25 * HOUR)
    assert len(runs.keys) == 3
    assert len(set(runs.keys)) == 2
    runs.down = True
    with pytest.raises(PrefectUnreachable):
        caller.look(NOON + 3 * HOUR)
    runs.down = False
    assert caller.look(NOON + 3 * HOUR) == 1
    watching.stop(world.wiring, "b", NOON)
    assert caller.look(NOON + 9 * HOUR) == 0


def test_a_promotion_starts_a_watch_that_nobody_stopped(world):
    begun = watching.follow(world.wiring, "b", NOON)
    assert (begun.status, begun.since) == ("Scheduled", NOON)
    assert watching.follow(world.wiring, "b", NOON + HOUR).since == NOON
    watching.stop(world.wiring, "b", NOON)
    assert watching.follow(world.wiring, "b", NOON + HOUR).status == "Stopped"
    with pytest.raises(RolloutRefused, match="is not watched"):
        watching.stop(world.wiring, "b", NOON)
    assert watching.start(world.wiring, "b", NOON + 2 * HOUR).since == NOON + 2 * HOUR


def over_time(world):
    """Windows and evidence of the alarm over time, by the end of each execution's window."""
    points = world.run().logbook.history.figures("b", "drift_over_time", "data-quality")
    return {point.window.end: (point.figure.n, point.figure.value) for point in points}


def test_drift_over_time_is_carried_from_execution_to_execution(world):
    for hour in range(4):
        world.capture(NOON - HOUR + hour * HOUR, seed=hour + 30, shift=0.0 if hour < 2 else 0.4)
    world.watch()
    world.now = NOON + 3 * HOUR
    done = [one for one in world.run().scheduled().executions if one.kind == "DataQuality"]
    seen = over_time(world)
    assert [seen[NOON + hour * HOUR][0] for hour in range(4)] == [1, 2, 3, 4]
    raised = [
        [one.description for one in each.violations if one.check == "drift_over_time_check"] for each in done
    ]
    assert (raised[0], raised[1]) == ([], [])
    assert len(raised[3]) == 1
    named = raised[3][0].rpartition("columns: ")[2].split(", ")
    assert "x" in named
    assert "z" not in named
    assert seen[NOON + 3 * HOUR][1] > 2 > seen[NOON + HOUR][1]
    page = world.home / "reports/b/data-quality/2026/03/01/15/report.html"
    assert "Alarm over time" in page.read_text()
    world.run().on_demand(on_demand(NOON, NOON + HOUR), ("DataQuality",))
    world.capture(NOON, seed=99, name="late", rows=300)
    world.now += HOUR / 4
    again = [one for one in world.run().scheduled().again if one.kind == "DataQuality"]
    assert [(one.rows, one.revision) for one in again] == [(1000, 2)]
    assert over_time(world)[NOON + HOUR][0] == 2
    world.capture(NOON + 3 * HOUR, seed=40, shift=0.4)
    world.now = NOON + 4 * HOUR
    world.run().scheduled()
    assert over_time(world)[NOON + 4 * HOUR][0] == 5


def test_no_row_of_overlapping_windows_counts_twice(tmp_path, watched_package):
    world = World(tmp_path, watched_package, {"start_time_offset": "3h"})
    try:
        for hour in range(3):
            world.capture(NOON + hour * HOUR, seed=hour, rows=200)
        world.watch(NOON)
        world.now = NOON + 3 * HOUR
        done = world.run().scheduled().executions
        assert [one.rows for one in done] == [200, 400, 600]
        with world.engine.connect() as db:
            (kept,) = db.scalars(sa.select(CHAINS.c.data)).all()
        assert [link["counts"][0][2] for link in json.loads(kept)["links"]] == [200, 200, 200]
    finally:
        world.engine.dispose()


def test_what_is_strange_to_forest_and_watch_is_a_note(world, monkeypatch):
    def broken(*_):
        raise ValueError("strange")

    monkeypatch.setattr(forest, "read", broken)
    monkeypatch.setattr(reference, "count", broken)
    world.capture(NOON - HOUR)
    world.watch()
    (found,) = (one for one in world.run().scheduled().executions if one.kind == "DataQuality")
    assert found.status.judged
    assert {"rows were not held against forest.json: ValueError: strange"} <= set(found.notes)
    assert {"drift over time was not judged: ValueError: strange"} <= set(found.notes)


def test_a_figure_unlike_the_windows_before_is_marked_on_the_page(tmp_path, watched_package):
    world = World(tmp_path, watched_package, {})
    try:
        for hour in range(13):
            world.capture(NOON + hour * HOUR, seed=hour, shift=0.7 if hour == 12 else 0.0, rows=120)
        world.watch(NOON)
        world.now = NOON + 13 * HOUR
        world.run().scheduled()
        pages = [
            (world.home / f"reports/b/data-quality/2026/03/02/{hour:02}/report.html").read_text()
            for hour in (0, 1)
        ]
        assert ["usual would be" in page for page in pages] == [False, True]
    finally:
        world.engine.dispose()


def test_rows_unlike_the_training_rows_are_counted(world):
    world.capture(NOON - HOUR, rows=2000, seed=8)
    world.capture(NOON, shift=1.5)
    for end, bad in ((NOON, False), (NOON + HOUR, True)):
        found = by_kind(world.run().on_demand(on_demand(end - HOUR, end), ("DataQuality",)))["DataQuality"]
        checks = [one.check for one in found.violations]
        assert ("row_outliers_check" in checks) == bad
    shares = {
        point.window.end: point.figure.value
        for point in world.run().logbook.history.figures("b", "row_outliers")
    }
    assert shares[NOON] < 0.025 < shares[NOON + HOUR]
    errors = [one.figure for one in world.run().logbook.history.figures("b", "reconstruction_error")]
    assert len(errors) == 2
    assert all(0 < one.low < one.value < one.high for one in errors)
    page = (world.home / "reports/b/now-data-quality/2026/03/01/13/report.html").read_text()
    assert "Unusual rows" in page
    assert "a-12-" in page
