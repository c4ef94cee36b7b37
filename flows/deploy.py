"""The deploy flow: plan, staging, endpoint tests, perhaps a second approval, production.

It writes wishes into the store and watches; the controller acts. So it may be killed and started again at any
moment: every wish has an id made from the approval, and asking again changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, suspend_flow_run, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.input import RunInput
from prefect.states import Completed, Failed

from deploy.checks import CheckResult
from deploy.checks import run as run_checks
from deploy.errors import EndpointTestsFailed, Permanent, RolloutRefused
from deploy.plan import Plan, at_once, check_serving, check_update
from deploy.plan import plan as make_plan
from deploy.release import Release, Request
from deploy.rollout import Phase
from deploy.stored import Rollout
from flows import artifacts
from flows.dossier import Dossier, asked_of, fetch
from flows.monitoring import watching
from flows.notices import problems
from flows.releasing import kind, production_release, release
from flows.retrying import is_temporary
from flows.trigger import TriggerError
from flows.wiring import Wiring, connect, utc_now
from registry.approvals import Person, Subject, decide
from registry.entry import Kind
from registry.errors import PolicyRefused, RegistryError
from registry.standing import standing

LOOK = 0.5
"""Seconds between two looks at a rollout."""
PATIENCE = timedelta(hours=6)
"""How long to wait for another rollout on the same endpoint."""
GATE_OPEN = timedelta(days=14)
"""How long the second approval may take."""


class ProductionGate(RunInput):
    """The form of the second approval."""

    decision: Literal["Rejected", "Approved"]
    approver: str
    comment: str = ""


@flow(name="deploy", flow_run_name="deploy-{model}-v{version}")
def deploy(model: str, version: str, approval_id: str) -> State[Any]:
    """Bring an approved version into production.

    Args:
        model: registered model.
        version: its version.
        approval_id: id of the approval in the ledger.
    """
    wiring = connect()
    try:
        dossier = collect(wiring, model, version, approval_id)
        plan = check_plan(wiring, dossier)
        to_staging(wiring, dossier)
        test_endpoint(wiring, dossier)
        if dossier.project.production.approval:
            wait_for_approval(wiring, dossier)
        rollout = to_production(wiring, dossier, plan)
    except (Permanent, PolicyRefused) as stop:
        return Failed(name="Stopped", message=str(stop))
    return report(wiring, rollout)


@task(name="collect package and evidence", retries=5, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def collect(wiring: Wiring, model: str, version: str, approval_id: str) -> Dossier:
    """Package, project file and approval, each verified against what was approved."""
    dossier = fetch(wiring.registry, wiring.desk.ledger, wiring.archives, (model, version, approval_id))
    page = f"{wiring.settings.url('mlflow')}/#/models/{model}/versions/{version}"
    approval = dossier.approval
    create_markdown_artifact(
        key="approval",
        markdown=f"[{model} version {version}]({page}) was approved by **{approval.actor}** at "
        f"{approval.at:%Y-%m-%d %H:%M:%S} UTC ({approval.source}).\n\n"
        f"package `{approval.digest}`\n\nevidence `{approval.evidence}`\n",
        description="what is deployed, and who approved it",
    )
    return dossier


@task(name="plan")
def check_plan(wiring: Wiring, dossier: Dossier) -> Plan:
    """The production rollout as steps; refuses what the target cannot do, warns of what nobody would hear."""
    production = dossier.project.production
    for problem in problems(production.notify, os.environ):
        get_run_logger().warning(problem)
    holds = kind(dossier.archive) if production.serverless else ""
    check_serving(dossier.project, dossier.project.target or wiring.settings.target, holds)
    plan = make_plan(production.rollout, wiring.target.capabilities, production.most_instances)
    endpoint = wiring.store.endpoint(production.endpoint)
    if endpoint is None or endpoint.stable is None:
        get_run_logger().info(
            "endpoint %s serves nothing yet: the first version goes live at once", production.endpoint
        )
        plan = at_once(production.rollout.maximum_execution_timeout)
    else:
        check_update(dossier.project, serverless=endpoint.stable.serverless)
    create_table_artifact(
        key="rollout-plan", table=artifacts.plan_rows(plan), description=production.endpoint
    )
    return plan


@task(name="staging endpoint", retries=3, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def to_staging(wiring: Wiring, dossier: Dossier) -> None:
    """The version alone behind the staging endpoint."""
    staging = dossier.project.staging
    request = Request(
        id=f"{dossier.approval.id}:staging",
        endpoint=staging.endpoint,
        release=release(dossier, staging.instance_count),
        plan=at_once(),
        requested_by=dossier.approval.actor,
    )
    rollout = watch(wiring, request)
    if rollout is not None and rollout.state.phase is not Phase.PROMOTED:
        raise RolloutRefused(f"the version does not start on staging: {rollout.state.reason}")


@task(name="endpoint tests", retries=2, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def test_endpoint(wiring: Wiring, dossier: Dossier) -> tuple[CheckResult, ...]:
    """Ask the staging endpoint everything it must be able to answer."""
    staging = dossier.project.staging
    asked = asked_of(wiring.registry, dossier, wiring.settings.home / "packages")
    url, variant = wiring.invocations(staging.endpoint), release(dossier).variant
    results = run_checks(url, variant, asked, staging.tests)
    create_table_artifact(
        key="endpoint-tests", table=artifacts.check_rows(results), description=staging.endpoint
    )
    failed = [result for result in results if not result.passed]
    if failed:
        listed = "; ".join(f"{result.name}: {result.detail}" for result in failed)
        raise EndpointTestsFailed(f"{len(failed)} of {len(results)} endpoint tests failed: {listed}")
    get_run_logger().info("%d endpoint tests passed", len(results))
    return results


def wait_for_approval(wiring: Wiring, dossier: Dossier) -> None:
    """Until somebody approves for production: the form of this run, or `seaway approve --stage production`.

    Raises:
        RolloutRefused: production was refused to this version.
    """
    for asked in range(100):
        if _approved_for_production(wiring, dossier):
            return
        answer = suspend_flow_run(
            wait_for_input=ProductionGate.with_initial_data(
                description=f"Staging passed. Deploy **{dossier.version.model}** version "
                f"{dossier.version.version} to **{dossier.project.production.endpoint}**?",
                decision="Rejected",
                approver="",
            ),
            key=f"production-{asked}",
            timeout=int(GATE_OPEN.total_seconds()),
        )
        if not _approved_for_production(wiring, dossier):
            _answer(wiring, dossier, answer)


def _approved_for_production(wiring: Wiring, dossier: Dossier) -> bool:
    entries = wiring.desk.ledger.entries(dossier.version.model, dossier.version.version)
    since = dossier.approval.seq
    current = standing([e for e in entries if e.kind is Kind.REGISTERED or e.seq >= since], "production")
    if current.status == "Rejected" and current.last:
        raise RolloutRefused(f"production was refused by {current.last.actor}: {current.last.comment}")
    return current.status == "Approved"


def _answer(wiring: Wiring, dossier: Dossier, answer: ProductionGate) -> None:
    """Write the form's answer into the ledger; what the policy refuses leaves the gate open."""
    person = Person(answer.approver, source="flow-form", authenticated=False)
    subject = Subject(dossier.version.model, dossier.version.version, "production")
    try:
        decide(wiring.desk, subject, answer.decision, person, utc_now(), answer.comment)
    except PolicyRefused as refusal:
        get_run_logger().warning("the approval was not accepted: %s", refusal)


@task(name="production rollout", retries=3, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def to_production(wiring: Wiring, dossier: Dossier, plan: Plan) -> Rollout | None:
    """Ask for the rollout and watch it; None when the version serves already."""
    rollout = watch(wiring, production_request(dossier, plan, wiring.settings.home))
    if rollout is None or rollout.state.phase is Phase.PROMOTED:
        keep_watch(wiring, dossier.project.production.endpoint)
    return rollout


def keep_watch(wiring: Wiring, endpoint: str) -> None:
    """Watch the endpoint as the version that serves it now wants; a failure is only worth a warning."""
    try:
        watch = watching.follow(wiring, endpoint, utc_now())
    except (TriggerError, RegistryError) as error:
        get_run_logger().warning(
            "endpoint %s is not watched yet: %s; try: seaway monitor start %s", endpoint, error, endpoint
        )
        return
    if watch:
        get_run_logger().info("monitoring of endpoint %s is %s", endpoint, watch.status)


def production_request(dossier: Dossier, plan: Plan, home: Path) -> Request:
    """The wish for production."""
    production = dossier.project.production
    return Request(
        id=f"{dossier.approval.id}:production",
        endpoint=production.endpoint,
        release=production_release(dossier, home),
        plan=plan,
        judge=production.judge,
        alarms=production.alarms,
        champion=True,
        requested_by=dossier.approval.actor,
        notify=production.notify,
        sticky=production.sticky,
    )


def watch(wiring: Wiring, request: Request) -> Rollout | None:
    """Ask, then look until it is decided, telling the log about every change; None when it serves already."""
    rollout = ask_when_free(wiring, request)
    said = ""
    while rollout is not None:
        sentence = artifacts.rollout_sentence(rollout)
        if sentence != said:
            get_run_logger().info(sentence)
            said = sentence
        if rollout.state.phase.final:
            return rollout
        time.sleep(LOOK)
        rollout = wiring.store.rollout(request.id)
    return None


def ask_when_free(wiring: Wiring, request: Request) -> Rollout | None:
    """Ask for the rollout as soon as the endpoint is free; None when it serves this release already.

    Raises:
        RolloutRefused: another rollout kept the endpoint busy for too long.
    """
    end = time.monotonic() + PATIENCE.total_seconds()
    while True:
        endpoint = wiring.store.endpoint(request.endpoint)
        known = wiring.store.rollout(request.id)
        serves = endpoint is not None and not endpoint.removed and endpoint.stable
        if known is None and serves and _same(serves, request.release):
            get_run_logger().info(
                "endpoint %s serves version %s already", request.endpoint, request.release.version
            )
            return None
        try:
            return wiring.store.ask(request, utc_now())
        except RolloutRefused:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK)


def _same(one: Release, other: Release) -> bool:
    return (one.version, one.digest) == (other.version, other.digest)


def report(wiring: Wiring, rollout: Rollout | None) -> State[Any]:
    """How it ended, as an artifact and as the state of the run."""
    if rollout is None:
        return Completed(message="the endpoint serves this version already")
    events = wiring.store.events(rollout=rollout.request.id)
    _publish_timeline(rollout, artifacts.timeline(events))
    sentence = artifacts.rollout_sentence(rollout)
    if rollout.state.phase is Phase.ROLLED_BACK:
        return Failed(name="RolledBack", message=sentence)
    return Completed(
        name="Promoted" if rollout.state.phase is Phase.PROMOTED else "Completed", message=sentence
    )


def _publish_timeline(rollout: Rollout, rows: Iterable[dict[str, Any]]) -> None:
    heading = f"## {artifacts.rollout_sentence(rollout)}\n\n"
    exposed = f"\n{rollout.case.errors.n_c} requests were answered by the new version while it was judged.\n"
    create_markdown_artifact(
        key="rollout",
        markdown=heading + artifacts.table(list(rows)) + exposed,
        description=rollout.request.endpoint,
    )
