"""The contract of what monitoring keeps, on SQLite and on a real PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from flows.monitoring.alerting import Alerts
from flows.monitoring.decisions import Decision, Decisions
from flows.monitoring.executions import Action, Alert, AlertStatus, Execution, Status, Watch
from flows.monitoring.history import LEASE, History
from flows.monitoring.tables import METADATA
from flows.monitoring.windows import Window
from monitoring.findings import Figure, Violation
from registry.tables import open_store

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIOLATION = Violation("baseline_drift_check", "ü: 0.31 exceeds 0.1", (("feature_name", "age"),))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request, tmp_path):
    address = (
        f"sqlite:///{tmp_path / 's.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = open_store(address)
    yield engine
    with engine.begin() as db:
        for table in METADATA.sorted_tables:
            db.execute(sa.delete(table))
    engine.dispose()


@pytest.fixture
def history(engine):
    made = History(engine)
    made.create()
    return made


@pytest.fixture
def alerts(history, engine):
    return Alerts(engine)


def execution(scheduled=DUE, endpoint="harbour", schedule="data-quality", **more):
    window = Window(scheduled, scheduled - HOUR, scheduled)
    return Execution(endpoint, schedule, "DataQuality", window, Status.PENDING, NOW, NOW, **more)


def ended(began, status=Status.COMPLETED, **more):
    return replace(began, status=status, modified=NOW, **{"rows": 9, **more})


def test_an_execution_comes_back_as_it_ended(history):
    began = history.claim(execution(), NOW)
    assert began.status is Status.IN_PROGRESS
    told = ended(
        began,
        Status.VIOLATED,
        variant="v3",
        version="3",
        rows=7,
        violations=(VIOLATION,),
        notes=("a", "b"),
        hours={"2026-03-01T11": "ab"},
        flow_run="run",
    )
    kept = history.finish(told)
    assert kept.revision == 1
    assert history.execution("harbour", "data-quality", DUE) == kept
    assert history.executions("harbour") == (kept,)


def test_a_window_is_looked_at_once(history):
    assert history.claim(execution(), NOW)
    assert history.claim(execution(), NOW + LEASE / 2) is None
    history.finish(ended(execution()))
    assert history.claim(execution(), NOW + 10 * LEASE) is None
    assert history.claim(execution(endpoint="other"), NOW)
    assert history.claim(execution(schedule="bias"), NOW)
    assert history.claim(execution(DUE + HOUR), NOW)


def test_one_of_many_begins(history):
    begun = []
    barrier = threading.Barrier(6)

    def begin():
        barrier.wait()
        begun.append(history.claim(execution(), NOW))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in begun if one]) == 1


def test_what_a_killed_process_began_is_taken_over_once(history):
    history.claim(execution(flow_run="first"), NOW)
    later = NOW + LEASE + HOUR
    taken = history.claim(execution(flow_run="second"), later)
    assert (taken.flow_run, taken.created, taken.modified) == ("second", NOW, later)
    assert history.claim(execution(flow_run="third"), later) is None


def test_what_should_stop_is_not_taken_over(history):
    history.claim(execution(), NOW)
    assert history.stop("harbour", NOW) == 1
    assert history.execution("harbour", "data-quality", DUE).status is Status.STOPPING
    assert history.claim(execution(), NOW + 2 * LEASE) is None
    assert history.execution("harbour", "data-quality", DUE).status is Status.STOPPED
    assert history.stop("harbour", NOW) == 0


def test_executions_are_listed_newest_first(history):
    for number in range(4):
        began = history.claim(execution(DUE + number * HOUR), NOW)
        history.finish(ended(began, Status.FAILED if number == 3 else Status.COMPLETED))
    scheduled = [one.window.scheduled for one in history.executions("harbour", last=2)]
    assert scheduled == [DUE + 3 * HOUR, DUE + 2 * HOUR]
    judged = history.executions("harbour", "data-quality", judged=True)
    assert [one.window.scheduled for one in judged] == [DUE + 2 * HOUR, DUE + HOUR, DUE]
    assert len(history.executions("harbour", since=DUE + 2 * HOUR)) == 2


def test_figures_keep_their_intervals_and_dimensions(history):
    figure = Figure("bias_metric_CI", 0.25, 0.1, 0.4, 12, True, (("Facet", "sex"), ("FacetValue", "F")))
    broken = Figure("odd", float("nan"), None, float("inf"))
    history.finish(ended(history.claim(execution(), NOW), variant="v3"), [figure, broken])
    first, second = history.figures("harbour")
    assert first.figure == figure
    assert (first.variant, first.version, first.window) == ("v3", 1, execution().window)
    assert (second.figure.value, second.figure.high) == (None, float("inf"))


def test_late_labels_replace_figures_and_keep_the_old_ones(history):
    for number in range(2):
        began = history.claim(execution(DUE + number * HOUR), NOW)
        history.finish(ended(began), [Figure("f1", 0.5), Figure("recall", 0.5)])
    again = history.finish(ended(execution()), [Figure("f1", 0.75)])
    assert again.revision == 2
    now = history.figures("harbour", "f1")
    assert [(one.figure.value, one.version) for one in now] == [(0.5, 1), (0.75, 2)]
    every = history.figures("harbour", "f1", every_version=True)
    assert [(one.figure.value, one.version) for one in every] == [(0.5, 1), (0.75, 2), (0.5, 1)]
    assert len(history.figures("harbour", "recall")) == 1


def test_the_newest_verdict_of_each_schedule(history):
    for number, status in enumerate((Status.COMPLETED, Status.VIOLATED, Status.FAILED)):
        began = history.claim(execution(DUE + number * HOUR), NOW)
        history.finish(ended(began, status), [Figure("x", float(number))])
    history.finish(ended(history.claim(execution(schedule="now-data-quality"), NOW)), [Figure("x", 9.0)])
    ((found, figures),) = history.newest()
    assert found.window.scheduled == DUE + HOUR
    assert [one.figure.value for one in figures] == [1.0]


def test_watching_an_endpoint(history):
    assert history.watched("harbour") is None
    watch = Watch("harbour", "Scheduled", NOW)
    history.watch(watch)
    assert history.watched("harbour") == watch
    stopped = replace(watch, status="Stopped", settings="{}", effective="[]", reason="ü")
    history.watch(stopped)
    assert history.watches() == (stopped,)


ALERT = Alert(
    "harbour", "drift", AlertStatus.IN_ALERT, NOW, "DataQuality", "data-quality", "2 of 3", DUE, "3"
)


def test_an_alert_changes_once(alerts):
    assert alerts.alert("harbour", "drift") is None
    assert alerts.become(None, ALERT, [Action("a", ALERT, "notify"), Action("b", ALERT, "rollback")])
    assert not alerts.become(None, ALERT, [Action("c", ALERT, "notify")])
    assert alerts.alert("harbour", "drift") == ALERT
    over = replace(ALERT, status=AlertStatus.OK, since=NOW + HOUR)
    assert alerts.become(ALERT, over)
    assert not alerts.become(ALERT, replace(over, reason="somebody else"))
    assert alerts.alerts() == alerts.alerts("harbour") == (over,)
    assert alerts.history("harbour") == (over, ALERT)
    assert [action.id for action in alerts.pending("harbour")] == ["a", "b"]


def test_actions_are_done_once(alerts):
    alerts.become(None, ALERT, [Action("a", ALERT, "notify")])
    (action,) = alerts.pending("harbour")
    assert action == Action("a", ALERT, "notify")
    alerts.done(action, "told 1 address")
    assert alerts.pending("harbour") == ()
    assert alerts.taken("harbour") == (replace(action, outcome="told 1 address"),)


# ---- decisions --------------------------------------------------------------------------------------------


def test_a_question_is_decided_once_and_the_first_answer_stays(history, engine):
    kept = Decisions(engine)
    first = Decision(
        "retrain:harbour:1", "harbour", NOW, "retrain", acted=False, reason="ü", data={"cost": 4}
    )
    assert kept.keep(first)
    assert not kept.keep(replace(first, acted=True, reason="another"))
    assert kept.known(first.id) == first
    assert kept.known("retrain:harbour:2") is None


def test_decisions_are_listed_newest_first_and_by_what_they_are_about(history, engine):
    kept = Decisions(engine)
    older = Decision("a", "harbour", NOW - HOUR, "retrain", acted=False, reason="no")
    newer = Decision("b", "harbour", NOW, "guard", acted=True, reason="worse")
    for one in (older, newer, Decision("c", "pier", NOW, "retrain", acted=True, reason="yes")):
        kept.keep(one)
    assert kept.latest("harbour") == (newer, older)
    assert kept.latest("harbour", "retrain") == (older,)
    assert kept.latest("harbour", last=1) == (newer,)
