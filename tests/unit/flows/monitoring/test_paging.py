"""The page of an execution and the export of an endpoint's history, from a real store."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa

from flows.monitoring import paging
from flows.monitoring.executions import Execution, Status
from flows.monitoring.exporting import write
from flows.monitoring.history import History
from flows.monitoring.windows import Window
from monitoring.findings import Figure, Finding, Violation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOO_FAR = Violation("baseline_drift_check", "too far", (("feature_name", "age"),))


def execution(scheduled, **more):
    window = Window(scheduled, scheduled - HOUR, scheduled)
    known = Execution("harbour", "data-quality", "DataQuality", window, Status.VIOLATED, scheduled, scheduled)
    return replace(known, variant="v3", version="3", rows=9, violations=(TOO_FAR,), **more)


def finding(distance):
    return Finding("DataQuality", 9, (TOO_FAR,), (Figure("feature_baseline_drift_age", distance, n=9),))


@pytest.fixture
def history():
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    made = History(engine)
    made.create()
    for back in (3, 2, 1):
        one = execution(NOON - back * HOUR)
        made.claim(one, one.created)
        made.finish(one, finding(0.1 * back).figures)
    yield made
    engine.dispose()


def test_page_tells_of_the_window_and_of_those_before(history, tmp_path):
    (tmp_path / "statistics.json").write_text("{}")
    paging.leave(tmp_path, execution(NOON), finding(0.4), None, history, "http://prefect.local/runs/1")
    shown = (tmp_path / "report.html").read_text()
    for part in ("too far", "Drift over time", "over 4 windows", 'href="statistics.json"', "prefect.local"):
        assert part in shown
    assert not list(tmp_path.glob(".*"))


def test_a_failed_execution_has_a_page(history, tmp_path):
    failed = execution(NOON, reason="Job inputs had no data")
    paging.leave(tmp_path, replace(failed, status=Status.FAILED), None, None, history)
    assert "Job inputs had no data" in (tmp_path / "report.html").read_text()


def test_no_verdict_is_lost_for_a_page(history, tmp_path, monkeypatch, caplog):
    (tmp_path / "report.html").write_text("of an earlier look")
    monkeypatch.setattr("steps.pages.monitoring.page", lambda *_: 1 / 0)
    paging.leave(tmp_path, execution(NOON), finding(0.4), None, history)
    assert not (tmp_path / "report.html").exists()
    assert "no page was written" in caplog.text


def test_history_of_an_endpoint_is_exported(history, tmp_path):
    figures, executions, violations = map(pl.read_parquet, write(history, "harbour", tmp_path, "parquet"))
    assert figures["value"].to_list() == pytest.approx([0.3, 0.2, 0.1])
    assert figures["at"].to_list() == [NOON - back * HOUR for back in (3, 2, 1)]
    assert executions["status"].unique().to_list() == ["CompletedWithViolations"]
    assert json.loads(violations["subject"][0]) == {"feature_name": "age"}
    assert pl.read_parquet(write(history, "other", tmp_path, "parquet")[0]).is_empty()
