"""From approvals to flow runs, and from finished rollouts back to the registry and to people."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from deploy.stored import Endpoint
from flows.notices import notify
from flows.trigger import RunState
from flows.wiring import Wiring
from registry.entry import Entry, Kind
from registry.reconcile import Reconciler, Report, Wanted, triggered
from registry.standing import Standing, standing

log = logging.getLogger(__name__)

DEPLOYMENT = "deploy/deploy"
ATTEMPTS = 4
"""Most flow runs for one approval; a run counts again only when its process was killed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A version and where it stands for staging and for production."""

    model: str
    version: str
    entries: tuple[Entry, ...]

    def standing(self, stage: str = "staging") -> Standing:
        """Folded entries of one stage."""
        return standing(self.entries, "production" if stage == "production" else "staging")


class Approvals:
    """The registry's side of the controller process. One scan does all that is due, and may be repeated."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._reconciler = Reconciler(wiring.desk, self.start)

    def scan(self, now: datetime) -> Report:
        """Reconcile registry and ledger, start and revive deployments, answer gates, announce ends.

        Raises:
            registry.errors.RegistryError: the registry or the store does not answer.
        """
        report = self._reconciler.scan(now, self._aliases())
        for subject in self._approved():
            for act in (self._revive, self._resume):
                try:
                    act(subject, now)
                except Exception:
                    log.exception("%s version %s: will try again", subject.model, subject.version)
        self._stop_withdrawn()
        self._announce(report)
        return report

    def start(self, approval: Entry, attempt: int = 1) -> str:
        """Start the deploy flow of an approval; the same approval and attempt always give the same run."""
        suffix = "" if attempt == 1 else f":{attempt}"
        run = self._wiring.trigger.create(
            DEPLOYMENT,
            {"model": approval.model, "version": approval.version, "approval_id": approval.id},
            idempotency_key=f"approval:{approval.id}{suffix}",
            tags=("approval",),
        )
        return str(run)

    def _aliases(self) -> Wanted:
        models = {entry.model for entry in self._wiring.desk.ledger.entries()}
        return wanted_aliases(self._wiring.store.endpoints(), models)

    def _approved(self) -> Iterator[Subject]:
        """Versions whose approval is in force, was triggered, and whose end was not announced yet."""
        grouped: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._wiring.desk.ledger.entries():
            grouped.setdefault((entry.model, entry.version), []).append(entry)
        for (model, version), entries in grouped.items():
            subject = Subject(model, version, tuple(entries))
            current = subject.standing()
            if not (current.approval and current.triggered):
                continue
            rollout = self._wiring.store.rollout(f"{current.approval.id}:production")
            if rollout is None or not rollout.announced:
                yield subject

    def _revive(self, subject: Subject, now: datetime) -> None:
        """A run whose process was killed is started again: what it asked for is still wanted."""
        current = subject.standing()
        if not (current.approval and current.triggered):
            return
        run = self._wiring.trigger.state(_run_of(current.triggered))
        attempts = [
            e
            for e in subject.entries
            if e.kind is Kind.TRIGGERED and e.details.get("approval") == current.approval.id
        ]
        if _killed(run) and len(attempts) < ATTEMPTS:
            started = self.start(current.approval, len(attempts) + 1)
            self._wiring.desk.ledger.append(triggered(current.approval, started, now, len(attempts) + 1))
            log.warning(
                "deploy run of %s version %s was killed; started again", subject.model, subject.version
            )

    def _resume(self, subject: Subject, now: datetime) -> None:
        """A decision for production that was taken outside the form wakes the run that waits for it."""
        current, production = subject.standing(), subject.standing("production")
        last = production.last
        if not (current.triggered and last and last.seq > current.triggered.seq):
            return
        if last.source == "flow-form" or last.kind not in {Kind.APPROVED, Kind.REJECTED}:
            return
        run = _run_of(current.triggered)
        if self._wiring.trigger.state(run).type == "PAUSED":
            decision = "Approved" if last.kind is Kind.APPROVED else "Rejected"
            answer = {"decision": decision, "approver": last.actor, "comment": last.comment}
            self._wiring.trigger.resume(run, answer)
            log.info("%s version %s: %s for production at %s", subject.model, subject.version, decision, now)

    def _stop_withdrawn(self) -> None:
        """A rollout whose approval is not in force any more ends."""
        for endpoint in self._wiring.store.endpoints():
            rollout = self._wiring.store.active(endpoint.name)
            if rollout is None or rollout.request.restores:
                continue
            approval = rollout.request.id.rpartition(":")[0]
            release = rollout.request.release
            current = standing(self._wiring.desk.ledger.entries(release.model, release.version))
            if current.approval is None or current.approval.id != approval:
                who = current.last.actor if current.last else "somebody"
                self._wiring.store.abort(endpoint.name, f"the approval was taken back by {who}")

    def _announce(self, report: Report) -> None:
        """Tell people how rollouts ended, once the registry shows it."""
        failed = {failure.model for failure in report.failures}
        for rollout in self._wiring.store.unannounced():
            if rollout.request.release.model in failed:
                continue
            notify(rollout, os.environ)
            with self._wiring.store.writing() as store:
                store.announce(rollout.request.id)


def wanted_aliases(endpoints: Iterable[Endpoint], models: Iterable[str]) -> Wanted:
    """`champion` is what production serves, `previous` what it served before; neither where nothing serves.

    Args:
        endpoints: all there are.
        models: whose versions anybody ever decided about.
    """
    nothing: Wanted = {model: {"champion": None, "previous": None} for model in models}
    served: Wanted = {
        endpoint.stable.model: {
            "champion": endpoint.stable.version,
            "previous": endpoint.previous.version if endpoint.previous else None,
        }
        for endpoint in endpoints
        if endpoint.champion and endpoint.stable
    }
    return {**nothing, **served}


def _run_of(entry: Entry) -> UUID:
    return UUID(entry.details["flow_run_id"])


def _killed(run: RunState) -> bool:
    return run.type == "CRASHED"
