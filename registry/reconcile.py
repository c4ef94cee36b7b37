"""The loop between registry and ledger: reads both, lets `decide` compare, and does what it says.

Every effect may be repeated, and they come in one order: the ledger, then the tags, then the deployment.
A crash between any two is repaired by the next scan. Should two loops run, the ledger lets one of them win.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from configs.project import Approval
from registry.aliases import ALIASES, Point, decide_alias
from registry.approvals import Desk, evidence_of, policy_of, show
from registry.decide import Append, Mirror, Trigger, decide, unsettled, waiting
from registry.entry import Entry, Kind, name
from registry.errors import RegistryError
from registry.evidence import Evidence
from registry.gestures import Gesture
from registry.port import ModelVersion
from registry.standing import standing

log = logging.getLogger(__name__)

Wanted = Mapping[str, Mapping[str, str | None]]
"""Model → alias → version that it must point at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be done for one version; the next scan tries again."""

    model: str
    version: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one scan did."""

    entries: tuple[Entry, ...] = ()
    """Written to the ledger."""
    alarms: tuple[Entry, ...] = ()
    """Those of them that a person should hear of: refusals and aliases moved by hand."""
    failures: tuple[Failure, ...] = ()
    waiting: tuple[tuple[str, str], ...] = ()
    """Versions whose gesture is still under way: scan again in a moment."""


@dataclass(slots=True)
class _Tally:
    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)


class Reconciler:
    """Brings registry and ledger together, and starts the deployment of every approval exactly under its id.

    Args:
        desk: registry, ledger, gestures and evidence.
        trigger: starts the deployment of an approval and returns the id of its flow run; called again with
            the same approval after a crash, so it must be idempotent in the approval's id.
    """

    def __init__(self, desk: Desk, trigger: Callable[[Entry], str]) -> None:
        self._desk = desk
        self._trigger = trigger
        self._known: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._read = 0

    def scan(self, now: datetime, wanted: Wanted | None = None) -> Report:
        """Look at every version once.

        Raises:
            registry.errors.Unreachable: the registry or the store does not answer at all.
        """
        versions = self._desk.registry.versions()
        self._follow()
        gestures = _by_version(self._desk.gestures.list())
        tally = _Tally()
        for version in versions:
            key = (version.model, version.version)
            try:
                if waiting(gestures[key], now):
                    tally.waiting.append(key)
                    continue
                self._settle(version, gestures[key], now, tally)
            except Exception as error:  # noqa: BLE001  (one bad version must not stop the others)
                _failed(tally, version.model, version.version, error)
        for model, aliases in (wanted or {}).items():
            try:
                self._point(model, aliases, versions, now, tally)
            except Exception as error:  # noqa: BLE001  (nor one bad model)
                _failed(tally, model, "", error)
        return _report(tally)

    def _settle(
        self, version: ModelVersion, gestures: Sequence[Gesture], now: datetime, tally: _Tally
    ) -> None:
        entries = tuple(self._known[version.model, version.version])
        current = standing(entries)
        policy = policy_of(self._desk, version, current.registered)
        evidence = self._evidence(version, entries, gestures, policy)
        head = current.head
        for step in decide(version, entries, gestures, policy, evidence, now):
            if isinstance(step, Append):
                head = self._write(step.entry, tally, after=head).seq
            elif isinstance(step, Mirror):
                self._show(version, step, head)
            elif isinstance(step, Trigger):
                self._start(step, version, now, tally)

    def _show(self, version: ModelVersion, rewritten: Mirror, head: int) -> None:
        """Rewrite the tags, unless somebody decided meanwhile: the next scan shows that decision."""
        self._follow()
        if standing(self._known[version.model, version.version]).head == head:
            show(self._desk.registry, version, rewritten)

    def _start(self, step: Trigger, version: ModelVersion, now: datetime, tally: _Tally) -> None:
        approval = step.approval
        run = self._trigger(approval)
        self._write(triggered(approval, run, now), tally)
        self._desk.registry.annotate(version.model, version.version, {"deploy.flow_run_id": run})

    def _point(
        self,
        model: str,
        aliases: Mapping[str, str | None],
        versions: Sequence[ModelVersion],
        now: datetime,
        tally: _Tally,
    ) -> None:
        mine = [version for version in versions if version.model == model]
        for alias in ALIASES:
            if alias not in aliases:
                continue
            for _ in range(2):  # an alarm, then its repair
                steps = decide_alias(model, alias, aliases[alias], mine, self._known[model, ""], now)
                for step in steps:
                    if isinstance(step, Point):
                        self._desk.registry.set_alias(step.model, step.alias, step.version)
                    else:
                        self._write(step.entry, tally)
                if not steps or not _alarming(steps):
                    break

    def _evidence(
        self,
        version: ModelVersion,
        entries: Sequence[Entry],
        gestures: Sequence[Gesture],
        policy: Approval,
    ) -> Evidence | str:
        current = standing(entries)
        by_rule = bool(policy.automatic) and not current.decided
        if not by_rule and not unsettled(version, entries, gestures):
            return "it was not looked at"
        return evidence_of(self._desk, version)

    def _write(self, entry: Entry, tally: _Tally, after: int | None = None) -> Entry:
        written = self._desk.ledger.append(entry, after)
        self._follow()
        if written.at == entry.at:
            tally.entries.append(written)
        return written

    def _follow(self) -> None:
        """Read what the ledger has gained; it only grows, so the rest is known."""
        for entry in self._desk.ledger.entries(since=self._read):
            self._known[entry.model, entry.version].append(entry)
            self._read = entry.seq


def triggered(approval: Entry, run: str, now: datetime, attempt: int = 1) -> Entry:
    """The note that a flow run was started for an approval; each attempt has its own."""
    after = approval.id if attempt == 1 else f"{approval.id}:{attempt}"
    return Entry(
        id=name(Kind.TRIGGERED, approval.model, approval.version, after, approval.stage),
        at=now,
        kind=Kind.TRIGGERED,
        model=approval.model,
        version=approval.version,
        stage=approval.stage,
        actor="seaway",
        source="reconciler",
        digest=approval.digest,
        details={"approval": approval.id, "flow_run_id": run},
    )


def _by_version(gestures: Sequence[Gesture]) -> Mapping[tuple[str, str], list[Gesture]]:
    grouped: dict[tuple[str, str], list[Gesture]] = defaultdict(list)
    for gesture in gestures:
        grouped[gesture.model, gesture.version].append(gesture)
    return grouped


def _alarming(steps: Sequence[object]) -> bool:
    return any(getattr(getattr(step, "entry", None), "kind", None) is Kind.ALIAS_MOVED for step in steps)


def _failed(tally: _Tally, model: str, version: str, error: Exception) -> None:
    if isinstance(error, RegistryError):
        log.warning("%s version %s: %s", model, version, error)
    else:
        log.error("%s version %s", model, version, exc_info=error)
    tally.failures.append(Failure(model, version, f"{type(error).__name__}: {error}"))


def _report(tally: _Tally) -> Report:
    loud = {Kind.REFUSED, Kind.ALIAS_MOVED}
    alarms = tuple(entry for entry in tally.entries if entry.kind in loud)
    return Report(tuple(tally.entries), alarms, tuple(tally.failures), tuple(tally.waiting))
