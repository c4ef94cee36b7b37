"""The quality guard at work: labelled rows, answered again by the version before, and what follows."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from configs.monitor import Guard
from deploy.release import RESTORE
from deploy.rollout import Phase
from flows.monitoring import rollback
from flows.monitoring.decisions import Decision, Decisions
from flows.monitoring.hours import Hours
from flows.monitoring.subject import Watched, subject
from flows.monitoring.windows import Window
from flows.notices import Message, tell
from monitoring import guard
from monitoring.rows import LABEL, PREDICTED
from steps import scoring

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from deploy.stored import Endpoint
    from flows.wiring import Wiring


def watch_over(
    wiring: Wiring, watched: Watched, hours: Hours, now: datetime, environment: Mapping[str, str]
) -> str:
    """Compare, and act when the version that serves is worse; returns a sentence, empty when all is well.

    Raises:
        deploy.errors.DeployError: the store does not answer; call it again.
        registry.errors.RegistryError: the registry does not have, or give, the version before.
    """
    settings, endpoint = watched.settings.guard, wiring.store.endpoint(watched.endpoint)
    if settings is None or endpoint is None or endpoint.stable is None or endpoint.previous is None:
        return ""
    rows = _labelled(wiring, watched, hours, settings, now)
    if rows is None or rows.is_empty():
        return ""
    found = _weighed(wiring, endpoint, settings, rows)
    if found.verdict != "worse":
        return f"quality guard: {found.sentence}"
    return _act(wiring, watched, endpoint, found, now, environment)


def _labelled(
    wiring: Wiring, watched: Watched, hours: Hours, settings: Guard, now: datetime
) -> pl.DataFrame | None:
    """Rows that the version has answered since its promotion and whose label is known."""
    promoted = [
        one
        for one in wiring.store.rollouts(watched.endpoint, last=50)
        if one.state.phase is Phase.PROMOTED and one.request.release.version == watched.stable
    ]
    if not promoted:
        return None
    since = max(promoted[0].state.started, now - settings.look_back)
    return hours.stretch(f"v{watched.stable}", Window(now, since, now)).labelled()


def _weighed(wiring: Wiring, endpoint: Endpoint, settings: Guard, rows: pl.DataFrame) -> guard.Guarded:
    assert endpoint.previous is not None  # noqa: S101 (watch_over has looked)
    before = subject(wiring, endpoint.previous.model, f"v{endpoint.previous.version}")
    answered = scoring.predicted(before.package, rows)
    labels, serving = rows[LABEL].to_numpy(), rows[PREDICTED].to_numpy()
    if answered.task == "regression":
        counted = guard.numbers(
            *(np.asarray(one, dtype=np.float64) for one in (labels, serving, answered.values))
        )
    else:
        counted = guard.classes(labels, serving, answered.values)
    return guard.weigh(*counted, len(rows), alpha=settings.alpha, minimum=settings.minimum_labels)


def _act(
    wiring: Wiring,
    watched: Watched,
    endpoint: Endpoint,
    found: guard.Guarded,
    now: datetime,
    environment: Mapping[str, str],
) -> str:
    assert watched.settings.guard is not None  # noqa: S101 (watch_over has looked)
    assert endpoint.stable is not None  # noqa: S101
    question = f"guard:{endpoint.name}:{endpoint.stable.digest[:12]}"
    kept = Decisions(wiring.engine)
    refused = ""
    if watched.settings.guard.action == "rollback":
        rollouts = wiring.store.rollouts(endpoint.name, last=20)
        refused = rollback.refusal(endpoint, wiring.store.active(endpoint.name), rollouts, watched.stable)
    acted = watched.settings.guard.action == "rollback" and not refused
    if acted and wiring.store.rollout(f"{question}{RESTORE}") is None:
        wiring.store.ask(rollback.wish(question, endpoint, found.sentence, watched.notify), now)
    reason = f"{found.sentence}{f'; not rolled back: {refused}' if refused else ''}"
    if kept.keep(Decision(question, endpoint.name, now, "guard", acted, reason, asdict(found))):
        _tell(watched, endpoint, reason, acted=acted, environment=environment)
    return f"quality guard: {reason}" + ("; the version before is restored" if acted else "")


def _tell(
    watched: Watched, endpoint: Endpoint, reason: str, *, acted: bool, environment: Mapping[str, str]
) -> None:
    assert endpoint.stable is not None  # noqa: S101 (watch_over has looked)
    done = "is rolled back" if acted else "is worse than the version before"
    told = f"version {endpoint.stable.version} {done}: {reason}"
    tell(watched.notify, Message(f"Seaway: endpoint {endpoint.name}", told, good=False), environment)
