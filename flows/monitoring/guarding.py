"""The quality guard at work: labelled rows, the answers of two versions to them, and what follows.

While a rollout runs, the new version is held against the one that is kept warm beside it, and the rollout
ends when it is worse. After the promotion the version that serves is held against the one before, which then
returns. The rows are the same and grow: those since the rollout began that either version has answered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from deploy.release import Release
from deploy.rollout import Phase
from flows.monitoring import control, rollback
from flows.monitoring.decisions import Decision, Decisions
from flows.monitoring.hours import Hours
from flows.monitoring.subject import Watched, subject
from flows.monitoring.windows import Window
from flows.notices import Message, tell
from monitoring import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from configs.monitor import Guard
    from deploy.stored import Endpoint, Rollout
    from flows.wiring import Wiring

LAST = 50
"""Rollouts among which that of the version that serves is looked for."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A version that is held against the one before it."""

    endpoint: Endpoint
    serving: Release
    before: Release
    rollout: Rollout
    """The one that brought it, or is bringing it."""

    @property
    def running(self) -> bool:
        """The one before is still warm."""
        return not self.rollout.state.phase.final

    @property
    def question(self) -> str:
        """What is decided once: whether this rollout did harm."""
        began = f"{self.rollout.state.started:%Y%m%dT%H%M%S}"
        return f"guard:{self.endpoint.name}:{self.serving.digest[:12]}:{began}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the guard says, and on which answers."""

    found: guard.Guarded
    pairs: control.Pairs

    @property
    def data(self) -> dict[str, object]:
        """For the log of decisions."""
        pairs = self.pairs
        told = {"captured": pairs.captured, "kept": pairs.kept, "answered": pairs.answered}
        return {**asdict(self.found), **told}

    @property
    def sentence(self) -> str:
        """For people."""
        pairs = self.pairs
        return (
            f"{self.found.sentence}; both had answered {pairs.captured:,} of them, "
            f"{pairs.kept + pairs.answered:,} were answered off line, {pairs.answered:,} of these now"
        )


def watch_over(
    wiring: Wiring, watched: Watched, hours: Hours, now: datetime, environment: Mapping[str, str]
) -> str:
    """Compare, and act when the newer version is worse; returns a sentence, or nothing.

    Raises:
        deploy.errors.DeployError: the store does not answer; call it again.
        registry.errors.RegistryError: the registry does not have, or give, one of the versions.
    """
    settings = watched.settings.guard
    tried = trial(wiring, watched.endpoint) if settings else None
    if settings is None or tried is None:
        return ""
    pairs = control.pairs(
        hours,
        _contender(wiring, tried.serving),
        _contender(wiring, tried.before),
        Window(now, max(tried.rollout.state.started, now - settings.look_back), now),
    )
    if pairs is None:
        return ""
    lost, won = pairs.lost_and_won()
    rows, least = len(pairs.labels), settings.minimum_labels
    seen = Seen(guard.weigh(lost, won, rows, alpha=settings.alpha, minimum=least), pairs)
    if seen.found.verdict != "worse":
        return f"quality guard: {seen.sentence}"
    return _Judged(wiring, watched, tried, seen).act(settings, now, environment)


def trial(wiring: Wiring, name: str) -> Trial | None:
    """What is to be compared on an endpoint: a new version that gets traffic, else the one that serves."""
    endpoint = wiring.store.endpoint(name)
    if endpoint is None or endpoint.stable is None:
        return None
    running = wiring.store.active(name)
    if running and running.request.plan.promotes:
        release = running.request.release
        baking = running.state.phase is Phase.BAKING and not running.request.restores
        same = release.model == endpoint.stable.model and release.version != endpoint.stable.version
        return Trial(endpoint, release, endpoint.stable, running) if baking and same else None
    brought = next((one for one in wiring.store.rollouts(name, last=LAST) if _brought(one, endpoint)), None)
    if brought is None or endpoint.previous is None:
        return None
    return Trial(endpoint, endpoint.stable, endpoint.previous, brought)


def _brought(rollout: Rollout, endpoint: Endpoint) -> bool:
    assert endpoint.stable is not None  # noqa: S101 (trial() has looked)
    return (
        rollout.state.phase is Phase.PROMOTED and rollout.request.release.version == endpoint.stable.version
    )


def _contender(wiring: Wiring, release: Release) -> control.Contender:
    found = subject(wiring, release.model, release.variant)
    return control.Contender(release.variant, release.digest, found.package)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A version that was found worse."""

    wiring: Wiring
    watched: Watched
    trial: Trial
    seen: Seen

    def act(self, settings: Guard, now: datetime, environment: Mapping[str, str]) -> str:
        """Go back where that is wanted and possible; the decision is kept and people are told of it, once.

        Going back is asked for after the decision is kept, at each look, and granted once: a crash on the way
        loses neither.
        """
        wanted = settings.action == "rollback"
        refused = self._refusal() if wanted else ""
        acted = wanted and not refused
        reason = f"{self.seen.sentence}{f'; not rolled back: {refused}' if refused else ''}"
        name = self.trial.endpoint.name
        question = f"{self.trial.question}:refused" if refused else self.trial.question
        decision = Decision(question, name, now, "guard", acted, reason, self.seen.data)
        first = Decisions(self.wiring.engine).keep(decision)
        if acted:
            self._go_back(now)
        if first:
            self._tell(reason, acted=acted, environment=environment)
        return f"quality guard: {reason}" + ("; the version before is restored" if acted else "")

    def _refusal(self) -> str:
        """Why there is no way back, from what is there now; empty when there is one."""
        store, trial = self.wiring.store, self.trial
        active = store.active(trial.endpoint.name)
        if trial.running:
            mine = active is not None and active.request.id == trial.rollout.request.id
            return "" if mine else "its rollout has just ended; the next run looks again"
        rollouts = store.rollouts(trial.endpoint.name, last=20)
        return rollback.refusal(trial.endpoint, active, rollouts, trial.serving.version)

    def _go_back(self, now: datetime) -> None:
        """End the rollout, or ask for the version before."""
        store, why = self.wiring.store, self.seen.found.sentence
        if self.trial.running:
            store.abort(self.trial.endpoint.name, why)
            return
        store.ask(rollback.wish(self.trial.question, self.trial.endpoint, why, self.watched.notify), now)

    def _tell(self, reason: str, *, acted: bool, environment: Mapping[str, str]) -> None:
        done = "is rolled back" if acted else "is worse than the version before"
        told = f"version {self.trial.serving.version} {done}: {reason}"
        said = Message(f"Seaway: endpoint {self.trial.endpoint.name}", told, good=False)
        tell(self.watched.notify, said, environment)
