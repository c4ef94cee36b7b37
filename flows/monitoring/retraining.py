"""Retraining as a decision with a price: an alarm asks, the figures answer, and every answer is kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.monitor import Retraining
from flows.monitoring.decisions import Decision, Decisions
from flows.monitoring.executions import Alert, Datapoint
from flows.monitoring.kinds import QUALITY
from flows.monitoring.logbook import Logbook
from flows.monitoring.subject import Watched, subject
from flows.monitoring.windows import SCHEDULES
from flows.replaying import version_of
from monitoring import retraining
from monitoring.quality import constraints

if TYPE_CHECKING:
    from flows.wiring import Wiring

PROJECT_FILE = "project_file"
"""Tag of a version: the project file that it was built from."""


def decide(wiring: Wiring, watched: Watched, alert: Alert, now: datetime) -> str:
    """Train a new version if that pays; the same alert is decided once. Returns a sentence for people.

    Raises:
        flows.trigger.TriggerError: Prefect does not answer, or refuses.
        registry.errors.RegistryError: the registry does not have, or give, the version.
    """
    kept = Decisions(wiring.engine)
    question = f"retrain:{alert.endpoint}:{alert.alarm}:{alert.since.isoformat()}"
    if (known := kept.known(question)) is None:
        weighed = _weighed(wiring, watched, alert, question, now)
        known = weighed if kept.keep(weighed) else kept.known(question) or weighed  # somebody was faster
    if not known.acted:
        return f"not retrained: {known.reason}"
    file = project_file(wiring, watched)
    if not file:
        return "not retrained: nobody knows the project file any more; run `seaway build PROJECT`"
    asked = wiring.trigger.create(
        "build/build", {"project": file}, question, tags=("retrain", alert.endpoint)
    )
    return f"a new version is being built by flow run {asked}: {known.reason}"


def project_file(wiring: Wiring, watched: Watched) -> str:
    """What to build: the file that the settings name, else the one the version was built from; or empty."""
    tags = version_of(wiring, watched.model, watched.stable).tags
    built = tags.get(PROJECT_FILE, "")
    named = watched.settings.retraining.project if watched.settings.retraining else ""
    return str(Path(built).parent / named) if named and built else named or built


def _weighed(wiring: Wiring, watched: Watched, alert: Alert, question: str, now: datetime) -> Decision:
    priced = watched.settings.retraining
    if priced is None:
        reason = f"alarm {alert.alarm} asks for it, and the project names no price"
        return Decision(question, alert.endpoint, now, "retrain", acted=True, reason=reason)
    situation = _situation(wiring, watched, priced)
    price = retraining.Price(
        priced.value,
        priced.cost,
        priced.horizon,
        priced.recoverable,
        priced.cool_down,
        priced.minimum_labels,
        priced.minimum_coverage,
    )
    found = retraining.decide(price, situation, now)
    data: dict[str, Any] = {**asdict(situation), "last": str(situation.last or ""), **asdict(found)}
    return Decision(question, alert.endpoint, now, "retrain", found.retrain, found.reason, data)


def _situation(wiring: Wiring, watched: Watched, priced: Retraining) -> retraining.Situation:
    logbook = Logbook.of(wiring.engine)
    schedule = SCHEDULES["ModelQuality"]
    points: tuple[Datapoint, ...] = ()
    for execution in logbook.history.executions(watched.endpoint, schedule, judged=True, last=20):
        points = logbook.history.measured(execution)
        if any(one.figure.name == priced.metric and one.figure.value is not None for one in points):
            break
    metric = next((one.figure for one in points if one.figure.name == priced.metric), None)
    coverage = next((one.figure for one in points if one.figure.name == "label_coverage"), None)
    captured, days = coverage.n if coverage else 0, _days(points)
    trained = [one for one in Decisions(wiring.engine).latest(watched.endpoint, "retrain") if one.acted]
    return retraining.Situation(
        metric=priced.metric,
        higher_is_better=priced.metric not in constraints.WORSE_ABOVE,
        value=metric.value if metric else None,
        low=metric.low if metric else None,
        high=metric.high if metric else None,
        reference=_reference(wiring, watched, priced.metric),
        labels=metric.n if metric else 0,
        coverage=(coverage.value or 0.0) if coverage else 0.0,
        per_day=captured / days if days else 0.0,
        last=max((one.at for one in trained), default=None),
        estimated=bool(metric and metric.estimated),
    )


def _days(points: tuple[Datapoint, ...]) -> float:
    if not points:
        return 0.0
    window = points[0].window
    return (window.end - window.start) / timedelta(days=1)


def _reference(wiring: Wiring, watched: Watched, metric: str) -> float | None:
    """The metric on the hold-out, as the package of the version that serves tells it."""
    file = subject(wiring, watched.model, f"v{watched.stable}").baseline / QUALITY
    if not file.is_file():
        return None
    known = constraints.read(json.loads(file.read_bytes())["constraints"]).metrics.get(metric)
    return known.threshold if known else None
