"""The page of an execution, `report.html` beside its documents: what it is told, and where it is left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flows.monitoring.executions import Execution
from flows.monitoring.exporting import points
from flows.monitoring.kinds import BIAS, PROFILE, Material
from flows.monitoring.windows import SCHEDULES
from monitoring.findings import Finding
from steps.pages.view import Link, Point, RunView

if TYPE_CHECKING:
    from flows.monitoring.history import History
    from monitoring.profiles import Profile

log = logging.getLogger(__name__)

PAGE = "report.html"
WINDOWS = 60
"""Earlier windows that the page tells of."""
PER_WINDOW = 12
"""Points of one name in one window at most that are asked for: one figure has several dimensions."""


def leave(
    out: Path,
    execution: Execution,
    finding: Finding | None,
    material: Material | None,
    history: History,
    flow_run: str = "",
) -> None:
    """Write the page. What goes wrong with it is logged: no verdict is lost for a page.

    Args:
        out: folder of the execution's documents, which are there.
        execution: as it ended.
        finding: None when there is none.
        material: what was analysed; None when it was not even found.
        history: for what earlier windows showed.
        flow_run: address of the flow run in Prefect's interface.
    """
    from steps.pages.monitoring import page

    file = out / PAGE
    try:
        shown = page(
            view(out, execution, material, flow_run),
            (finding,) if finding else (),
            *_profiles(execution, material),
            tuple(_past(execution, finding, history)),
        )
        new = file.with_name(f".{PAGE}.new")
        new.write_text(shown, encoding="utf-8")
        new.replace(file)
    except Exception:
        log.exception("no page was written into %s", out)
        file.unlink(missing_ok=True)  # that of an earlier look would tell another story


def view(out: Path, execution: Execution, material: Material | None, flow_run: str) -> RunView:
    """What the head of the page says."""
    files = sorted(file.name for file in out.glob("*.json"))
    links = [Link(name, name) for name in files]
    if flow_run:
        links.append(Link("flow run", flow_run))
    return RunView(
        endpoint=execution.endpoint,
        status=execution.status.value,
        start=execution.window.start,
        end=execution.window.end,
        schedule=execution.schedule,
        model=execution.model,
        version=execution.version,
        variant=execution.variant,
        rows=execution.rows,
        revision=execution.revision,
        reason=execution.reason,
        notes=execution.notes,
        links=tuple(links),
        references=_references(execution, material),
    )


def _past(execution: Execution, finding: Finding | None, history: History) -> Iterator[Point]:
    """Of the recurring schedule, even when somebody asked for this window."""
    from steps.pages.trends import followed

    schedule = SCHEDULES[execution.kind]
    for name in followed([finding] if finding else []):
        yield from points(history.figures(execution.endpoint, name, schedule, last=WINDOWS * PER_WINDOW))


def _references(execution: Execution, material: Material | None) -> dict[str, object]:
    if material is None or execution.kind != "ModelBias":
        return {}
    known = material.document(BIAS)
    return {} if known is None else {BIAS: known}


def _profiles(execution: Execution, material: Material | None) -> tuple[Profile | None, Profile | None]:
    """Baseline and window; only data quality draws them."""
    if material is None or execution.kind != "DataQuality":
        return None, None
    from monitoring.profiles import Profile

    known = material.part(PROFILE)
    return (Profile.from_bytes(known.read_bytes()) if known else None), material.profile
