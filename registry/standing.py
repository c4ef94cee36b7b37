"""Where a version stands: the ledger's entries folded into one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from registry.entry import Entry, Kind, Stage

Status = Literal["PendingManualApproval", "Approved", "Rejected"]
PENDING: Status = "PendingManualApproval"
APPROVED: Status = "Approved"
REJECTED: Status = "Rejected"

DECISIONS = frozenset({Kind.APPROVED, Kind.REJECTED, Kind.REFUSED, Kind.VOTE, Kind.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says about one version in one stage."""

    registered: Entry | None = None
    status: Status = PENDING
    last: Entry | None = None
    """The latest decision, also a refused one."""
    approval: Entry | None = None
    """The approval in force."""
    votes: tuple[Entry, ...] = ()
    """First approvals that wait for a second person."""
    triggered: Entry | None = None
    """That the deployment of the approval in force was started."""
    answered: int = 0
    """The latest gesture that a decision has taken into account."""
    decided: bool = False
    """Somebody has approved, rejected or withdrawn before: no rule approves it any more."""
    newest: Entry | None = None
    """The latest entry of any kind and stage."""

    @property
    def head(self) -> int:
        """Place of the latest entry in the ledger."""
        return self.newest.seq if self.newest else 0

    @property
    def author(self) -> str:
        """Who built the version."""
        return self.registered.actor if self.registered else ""


def standing(entries: Iterable[Entry], stage: Stage = "staging") -> Standing:
    """Fold the entries of one version, oldest first."""
    now = Standing()
    for entry in entries:
        now = replace(follow(now, entry, stage), newest=entry)
    return now


def follow(now: Standing, entry: Entry, stage: Stage = "staging") -> Standing:
    """The standing after one more entry."""
    if entry.kind is Kind.REGISTERED:
        return replace(now, registered=now.registered or entry)
    if entry.stage != stage:
        return now
    if entry.kind is Kind.TRIGGERED:
        current = now.approval is not None and entry.details.get("approval") == now.approval.id
        return replace(now, triggered=entry) if current else now
    if entry.kind not in DECISIONS:
        return now
    answered = max(now.answered, int(entry.details.get("answered", 0)))
    return _decided(replace(now, last=entry, answered=answered), entry)


def attached(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    """The latest report of each kind about the package that was registered, from entries oldest first.

    A report about other bytes does not count, and a later one takes the place of an earlier one.
    """
    registered, found = "", {}
    for entry in entries:
        if entry.kind is Kind.REGISTERED:
            registered = registered or entry.digest
        elif entry.kind is Kind.EVIDENCE and registered and entry.digest == registered:
            found[str(entry.details.get("kind", ""))] = entry
    return found


def _decided(now: Standing, entry: Entry) -> Standing:
    if entry.kind is Kind.APPROVED:
        return replace(now, status=APPROVED, approval=entry, triggered=None, votes=(), decided=True)
    if entry.kind is Kind.VOTE:
        return replace(now, votes=(*now.votes, entry))
    if entry.kind is Kind.REFUSED:
        return now
    status = REJECTED if entry.kind is Kind.REJECTED else PENDING
    return replace(now, status=status, approval=None, triggered=None, votes=(), decided=True)
