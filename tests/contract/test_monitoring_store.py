"""The contract of what monitoring keeps, on SQLite and on a real PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from flows.monitoring.alerting import CLAIM, Alerts
from flows.monitoring.chains import Chains
from flows.monitoring.decisions import Decision, Decisions
from flows.monitoring.executions import Action, Alert, AlertStatus, Execution, Status, Watch
from flows.monitoring.history import History
from flows.monitoring.leases import LEASE, beating
from flows.monitoring.tables import METADATA
from flows.monitoring.windows import Window
from monitoring.drift import over_time
from monitoring.drift.reference import Count, Event
from monitoring.drift.sequence import Reference
from monitoring.findings import Figure, Violation
from monitoring.profiles import Profile
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


def test_a_lease_that_is_renewed_is_not_taken_over_however_long_it_takes(history):
    began = history.claim(execution(holder="first"), NOW)
    for number in range(1, 5):
        now = NOW + number * LEASE * 0.9
        assert history.claim(execution(holder="second"), now) is None
        assert history.renew(began, now)
    assert history.claim(execution(holder="second"), now + LEASE)
    assert not history.renew(began, now + LEASE)


def test_a_run_that_wakes_up_too_late_keeps_nothing(history):
    slept = history.claim(execution(holder="slept"), NOW)
    taken = history.claim(execution(holder="awake"), NOW + LEASE)
    assert history.finish(ended(slept, rows=1), [Figure("f1", 0.1)]) is None
    kept = history.finish(ended(taken, rows=2), [Figure("f1", 0.2)])
    assert history.finish(ended(slept, rows=1), [Figure("f1", 0.1)]) is None
    assert history.execution("harbour", "data-quality", DUE) == kept
    assert [one.figure.value for one in history.figures("harbour", every_version=True)] == [0.2]


def test_what_a_run_gives_up_is_begun_at_once(history):
    began = history.claim(execution(holder="first"), NOW)
    history.leave(replace(began, holder="somebody else"))
    assert history.claim(execution(holder="second"), NOW) is None
    history.leave(began)
    assert history.claim(execution(holder="second"), NOW)


def test_a_window_is_looked_at_again_by_one_run_at_a_time(history):
    kept = history.finish(ended(history.claim(execution(holder="a"), NOW)))
    first = history.reopen(replace(kept, holder="b"), NOW)
    assert first
    assert history.reopen(replace(kept, holder="c"), NOW) is None
    assert history.reopen(replace(kept, holder="c"), NOW + LEASE / 2) is None
    history.leave(first)
    second = history.reopen(replace(kept, holder="c"), NOW)
    assert history.finish(ended(first)) is None
    assert history.finish(ended(second)).revision == 2
    assert history.reopen(replace(kept, holder="d"), NOW) is None  # somebody has looked since


def test_one_of_many_takes_over(history):
    history.claim(execution(holder="dead"), NOW)
    taken = []
    barrier = threading.Barrier(6)

    def take(name):
        barrier.wait()
        taken.append(history.claim(execution(holder=name), NOW + LEASE))

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in taken if one]) == 1


def test_a_beat_goes_on_after_a_failure_and_ends_with_the_block():
    beaten, often = [], threading.Event()

    def renew():
        beaten.append(1)
        if len(beaten) == 1:
            raise OSError("the store is away")
        if len(beaten) == 3:
            often.set()
        return True

    with beating(renew, timedelta(milliseconds=1)):
        assert often.wait(20)
    count = len(beaten)
    assert not [one for one in threading.enumerate() if one.name == "lease"]
    assert len(beaten) == count


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


def test_an_action_is_claimed_once_until_whoever_claimed_it_is_dead(alerts):
    alerts.become(None, ALERT, [Action("a", ALERT, "notify")])
    (action,) = alerts.pending("harbour")
    assert alerts.claim(action, "first", NOW) == 1
    assert alerts.claim(action, "second", NOW + CLAIM / 2) == 0
    assert alerts.pending("harbour") == (action,)
    assert alerts.claim(action, "second", NOW + CLAIM) == 2
    assert alerts.claim(action, "third", NOW + CLAIM) == 0
    alerts.done(action, "told 1 address")
    alerts.done(action, "told by the one that was thought dead")
    assert alerts.taken("harbour") == (replace(action, outcome="told 1 address"),)
    assert alerts.claim(action, "third", NOW + 9 * CLAIM) == 0


def test_a_claim_that_is_given_up_is_no_attempt(alerts):
    alerts.become(None, ALERT, [Action("a", ALERT, "rollback")])
    (action,) = alerts.pending("harbour")
    assert alerts.claim(action, "first", NOW) == 1
    alerts.release(action, "somebody else")
    assert alerts.claim(action, "second", NOW) == 0
    alerts.release(action, "first")
    assert alerts.claim(action, "second", NOW) == 1


def test_one_of_many_claims_an_action(alerts):
    alerts.become(None, ALERT, [Action("a", ALERT, "notify")])
    (action,) = alerts.pending("harbour")
    claimed = []
    barrier = threading.Barrier(6)

    def claim(name):
        barrier.wait()
        claimed.append(alerts.claim(action, name, NOW))

    threads = [threading.Thread(target=claim, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [0, 0, 0, 0, 0, 1]


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


def link(hour):
    at = DUE + hour * HOUR
    return over_time.Link(at, at - HOUR, at, (Count(2.0, 3.0, 9.0),))


def test_two_that_lengthen_a_chain_at_once_both_count(history, engine):
    """The second finds the chain changed and lengthens the new one; no link is lost."""
    kept = Chains(engine)
    against = Reference(Profile(), (Event("x", "missing", None, 0.0, 0.5),), 0.05, 1.0)
    assert kept.chain("harbour", "r").links == ()

    def both(chain):
        if not chain.links:
            other = Chains(engine)
            other.change("harbour", "r", lambda one: over_time.joined(against, one, link(1)))
        return over_time.joined(against, chain, link(2))

    made = kept.change("harbour", "r", both)
    assert made.links == kept.chain("harbour", "r").links == (link(1), link(2))
    again = kept.change("harbour", "r", lambda one: over_time.joined(against, one, link(2)))
    assert again.links == made.links
    assert kept.chain("harbour", "other").links == ()
