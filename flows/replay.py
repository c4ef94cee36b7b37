"""The replay flow: captured requests against a candidate and the champion, compared, kept as evidence."""

from __future__ import annotations

import base64
import time
import uuid
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from deploy.errors import Permanent as DeployPermanent
from flows import artifacts, comparing
from flows.replaying import PAGE, REPORT, Order, folder, keep, run, version_of
from flows.retrying import is_temporary
from flows.wiring import Wiring, connect, operating_system_user, utc_now
from registry.errors import Permanent as RegistryPermanent
from registry.evidence import Finding, attach
from serving.errors import ServingError
from steps import comparison_page, comparison_tables
from steps.errors import Permanent as StepPermanent

TELL = 5.0
"""Seconds between two lines about the progress."""


@flow(name="replay", flow_run_name="replay-{endpoint}-v{candidate}")
def replay(  # noqa: PLR0913, PLR0917  (the form that people fill in)
    endpoint: str,
    candidate: str,
    champion: str = "",
    since: str = "24h",
    sample: float = 1.0,
    labels: str = "",
    slice_by: str = "",
    tolerance: float = 0.0,
    most_changed: float | None = None,
    author: str = "",
    report_id: str = "",
) -> State[Any]:
    """Replay captured traffic of an endpoint against a candidate, and attach the report to it as evidence.

    Args:
        endpoint: whose captures.
        candidate: the version to try; it need not be approved.
        champion: the version to compare with; the one that serves when empty.
        since: how far back, for example 24h.
        sample: part of the captured events, from 0 to 1.
        labels: file with what really happened, see the how-to.
        slice_by: an input whose values part the report.
        tolerance: largest score difference that counts as none.
        most_changed: largest share of rows that may be decided otherwise; more fails the evidence.
        author: who asks; the operating-system user when empty.
        report_id: name of the report's folder; a new one when empty.
    """
    order = Order(endpoint, candidate, champion, since, sample, labels, slice_by, tolerance, most_changed)
    try:
        wiring = connect()
        out = folder(wiring.settings.home, report_id or str(uuid.uuid4()))
        report = replay_and_compare(wiring, order, out)
        attach_report(wiring, order, report, out, author or operating_system_user())
    except (DeployPermanent, RegistryPermanent, StepPermanent, ServingError) as stop:
        return Failed(name="Stopped", message=str(stop))
    said = comparing.sentence(report)
    if report["verdict"] == "failed":
        return Completed(name="Differs", message=f"{said}: {'; '.join(report['reasons'])}")
    return Completed(message=said)


@task(name="replay", retries=2, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def replay_and_compare(wiring: Wiring, order: Order, out: Path) -> dict[str, Any]:
    """Both versions behind servers of their own, every request through both."""
    told = time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL:
            told = time.monotonic()
            get_run_logger().info("%s requests replayed", f"{done:,}")

    report = run(wiring, order, utc_now(), tell)
    keep(report, out)
    page = (out / PAGE).as_uri()
    parts = [
        f"## {title}\n\n{artifacts.table(rows)}"
        for title, rows in comparison_tables.sections(report["comparison"])
    ]
    verdict = f"**{report['verdict']}**: {comparing.sentence(report)}"
    why = "".join(f"\n- {reason}" for reason in report["reasons"])
    create_markdown_artifact(
        key="replay",
        markdown=f"{verdict}\n{why}\n\n[The whole report]({page})\n\n" + "\n".join(parts),
        description=f"{report['candidate']} beside {report['champion']}",
    )
    if report["comparison"]["pairs"]:
        encoded = base64.b64encode(comparison_page.picture(report)).decode()
        create_image_artifact(
            key="replay-charts", image_url=f"data:image/png;base64,{encoded}", description="replay"
        )
    return report


@task(name="attach evidence", retries=5, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def attach_report(wiring: Wiring, order: Order, report: dict[str, Any], out: Path, author: str) -> None:
    """The report on the shelf, its hash and findings in the ledger, its verdict as a tag."""
    version = version_of(wiring, report["model"], order.candidate)
    finding = Finding(
        kind="replay",
        passed=report["verdict"] == "passed",
        summary=comparing.sentence(report),
        metrics=comparing.figures(report),
    )
    entry = attach(
        wiring.desk.ledger,
        wiring.desk.shelf,
        version,
        finding,
        (out / REPORT).read_bytes(),
        (author, "api"),
        utc_now(),
    )
    tag = f"{report['verdict']}: {finding.summary}"
    wiring.registry.annotate(version.model, version.version, {"evidence.replay": tag[:4000]})
    get_run_logger().info(
        "attached to %s version %s: %s", version.model, version.version, entry.evidence[:12]
    )
