"""The monitor flow: an endpoint's captured traffic against the baseline of the version that answered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from configs.monitor import Kind
from deploy.errors import Permanent as DeployPermanent
from flows import artifacts
from flows.monitoring import watching
from flows.monitoring.executions import Execution, Status
from flows.monitoring.outcome import Outcome
from flows.monitoring.reports import SUMMARY
from flows.monitoring.running import Run
from flows.monitoring.telling import alarm_rows, execution_rows
from flows.monitoring.windows import on_demand
from flows.retrying import is_temporary
from flows.wiring import Wiring, connect, utc_now
from registry.errors import Permanent as RegistryPermanent
from steps.errors import Permanent as StepPermanent


@flow(name="monitor", flow_run_name="monitor-{endpoint}")
def monitor(
    endpoint: str,
    start: str = "",
    end: str = "",
    kinds: list[Kind] = [],  # noqa: B006 (Prefect copies it)
) -> State[Any]:
    """Look at what an endpoint captured: everything that is due, or one window.

    Args:
        endpoint: its name.
        start: begin of the window, ISO 8601, UTC unless it says otherwise; what is due when empty.
        end: its end; now when empty.
        kinds: only these kinds of monitor; all that are switched on when empty.
    """
    wiring = connect()
    if not start and watching.ended(wiring, endpoint, utc_now()):
        return Completed(name="Ended", message=f"endpoint {endpoint} is gone, and watched no more")
    try:
        outcome = look(wiring, endpoint, start, end, tuple(kinds))
    except (DeployPermanent, RegistryPermanent, StepPermanent, ValueError) as stop:
        return Failed(name="Stopped", message=str(stop))
    done = (*outcome.executions, *outcome.again)
    if done and all(one.status is Status.FAILED for one in done):
        return Failed(name="Failed", message=outcome.sentence)
    if any(one.status is Status.VIOLATED for one in done):
        return Completed(name="CompletedWithViolations", message=outcome.sentence)
    return Completed(message=outcome.sentence)


@task(name="look", retries=3, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def look(wiring: Wiring, endpoint: str, start: str, end: str, kinds: tuple[Kind, ...]) -> Outcome:
    """Decode, analyse, keep, and act on alarms."""
    wiring.log_in()
    run = Run.of(wiring, endpoint, utc_now, flow_run=str(flow_run.id or ""), tell=get_run_logger().info)
    if start:
        window = on_demand(_moment(start), _moment(end) if end else utc_now())
        outcome = run.on_demand(window, kinds)
    else:
        outcome = run.scheduled()
    publish(outcome)
    return outcome


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def publish(outcome: Outcome) -> None:
    """What people see of a run: every execution, its violations, and where its files are."""
    done = (*outcome.executions, *outcome.again)
    if done:
        create_table_artifact(key="executions", table=execution_rows(done), description=outcome.sentence)
    for execution in done:
        _publish(execution)
    if outcome.changed or outcome.actions:
        create_markdown_artifact(
            key="alarms",
            markdown=artifacts.table(alarm_rows(outcome.changed, outcome.actions)),
            description="alarms that changed, and what followed",
        )


def _publish(execution: Execution) -> None:
    key = execution.schedule
    if execution.violations:
        create_table_artifact(
            key=f"{key}-violations",
            table=[violation.record() for violation in execution.violations],
            description=f"{execution.kind}: {execution.exit_message}",
        )
    file = Path(execution.report) / "report.html"
    page = file if file.exists() else Path(execution.report) / SUMMARY
    create_link_artifact(
        key=f"{key}-report", link=page.as_uri(), link_text=page.name, description=f"files of {execution.kind}"
    )
