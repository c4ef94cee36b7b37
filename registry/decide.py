"""What the reconciler should do about one version: the tag held against the ledger. Pure.

The ledger is the truth. A tag is a wish of the person who set it: it becomes a ledger entry when the policy
allows it, and is set back with a note when not. After every decision the tags are rewritten from the ledger,
the id of the decision (`approval.seen`) last; while it is missing the tag is our own unfinished work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from configs.project import Approval
from registry.entry import Entry, Kind, Source, Stage, canonical, name
from registry.evidence import TAG as EVIDENCE
from registry.evidence import Evidence
from registry.gestures import ANONYMOUS, Gesture
from registry.policy import Act, Claims, Proposal, automatic, propose
from registry.port import STATUS, ModelVersion
from registry.standing import APPROVED, PENDING, REJECTED, Standing, Status, standing

SEEN = "approval.seen"
"""Tag: the decision up to which the other tags are in step."""
PATIENCE = timedelta(seconds=30)
"""How long a gesture may be under way before its author counts as unknown."""
HEADING = "### Approval notes"
_WISHES: Mapping[str, Status] = {
    "approved": APPROVED,
    "rejected": REJECTED,
    "pendingmanualapproval": PENDING,
    "pending": PENDING,
}


@dataclass(frozen=True, slots=True)
class Append:
    """Write this to the ledger."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Mirror:
    """Rewrite these tags (None removes one), `approval.seen` last, and the description when given."""

    tags: Mapping[str, str | None]
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """Start the deployment of this approval; its id is the idempotency key."""

    approval: Entry


Step = Append | Mirror | Trigger


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for, and who."""

    value: str
    """The tag's value as typed; empty when it was removed."""
    actor: str = ""
    authenticated: bool = False
    source: Source = "registry-ui"
    comment: str = ""
    answered: int = 0
    """The latest gesture that this wish takes into account."""
    peer: str = ""

    @property
    def status(self) -> Status | None:
        """The status meant, whatever its case and spaces; None when unknown."""
        return _WISHES.get(re.sub(r"[\s_-]+", "", self.value).casefold())


def decide(
    version: ModelVersion,
    entries: Sequence[Entry],
    gestures: Sequence[Gesture],
    policy: Approval,
    evidence: Evidence | str,
    now: datetime,
) -> tuple[Step, ...]:
    """Everything to do about a version, in the order in which it must be done.

    Args:
        version: as the registry shows it.
        entries: the ledger's entries of this version, oldest first.
        gestures: who set its tag, oldest first; empty where nothing records them.
        policy: the approval section it was built under.
        evidence: its evidence, or a sentence that says why it cannot be read.
        now: the time written into new entries.
    """
    if waiting(gestures, now):
        return ()
    story = list(entries)
    for wish in _wishes(version, standing(story), gestures):
        if entry := answer(version, story, wish, policy, evidence, now):
            story.append(entry)
    if len(story) == len(entries) and (entry := _by_rule(version, story, gestures, policy, evidence, now)):
        story.append(entry)
    current = standing(story)
    steps: list[Step] = [Append(entry) for entry in story[len(entries) :]]
    if rewritten := mirror(version, current):
        steps.append(rewritten)
    if current.approval and not current.triggered:
        steps.append(Trigger(current.approval))
    return tuple(steps)


def waiting(gestures: Sequence[Gesture], now: datetime) -> bool:
    """A gesture is under way: whether it counts, and by whom, is known in a moment."""
    return any(not gesture.confirmed and now - gesture.at < PATIENCE for gesture in gestures)


def unsettled(version: ModelVersion, entries: Sequence[Entry], gestures: Sequence[Gesture]) -> bool:
    """Whether `decide` will look at the evidence (an approval is asked for); it costs a download."""
    wishes = _wishes(version, standing(entries), gestures)
    return any(wish.status == APPROVED for wish in wishes)


def answer(
    version: ModelVersion,
    entries: Sequence[Entry],
    wish: Wish,
    policy: Approval,
    evidence: Evidence | str,
    now: datetime,
    stage: Stage = "staging",
) -> Entry | None:
    """The entry that a wish becomes; None when the version stands like that already."""
    current = standing(entries, stage)
    case = _Case(version, policy, now, stage)
    act = _act(current, wish)
    if act is None:
        return None
    if act == "refuse":
        return _entry(Kind.REFUSED, case, current, wish, _unknown(wish))
    claims = Claims(version.tags.get("digest", ""), version.tags.get(EVIDENCE, ""))
    known = "" if wish.actor == ANONYMOUS else wish.actor
    proposal = Proposal(act, known, wish.authenticated, stage)
    decision = propose(policy, evidence, entries, proposal, claims)
    kinds = {"approve": Kind.APPROVED, "reject": Kind.REJECTED, "withdraw": Kind.WITHDRAWN}
    kind = {"allowed": kinds[act], "vote": Kind.VOTE, "refused": Kind.REFUSED}[decision.outcome]
    note = decision.reason or (_unknown(wish) if wish.status is None else wish.comment)
    return _entry(kind, case, current, wish, note)


def mirror(version: ModelVersion, current: Standing) -> Mirror | None:
    """The tags that differ from what the ledger says; None when none does."""
    if current.registered is None and current.last is None:
        return None
    wanted = _tags(current)
    differing = {tag: value for tag, value in wanted.items() if version.tags.get(tag) != value}
    if not differing:
        return None
    differing.pop(SEEN, None)
    return Mirror({**differing, SEEN: wanted[SEEN]}, _description(version, current))


def _tags(current: Standing) -> dict[str, str | None]:
    approval, last = current.approval, current.last
    run = current.triggered.details.get("flow_run_id") if current.triggered else None
    return {
        STATUS: current.status,
        "approval.id": approval.id if approval else None,
        "approved_by": approval.actor if approval else None,
        "approval_note": (sentence(last)[:4000] if last else None),
        "deploy.flow_run_id": str(run) if run else None,
        SEEN: last.id if last else None,
    }


def sentence(entry: Entry) -> str:
    """A decision in words, for tag and description."""
    verb = {
        Kind.APPROVED: "Approved",
        Kind.REJECTED: "Rejected",
        Kind.REFUSED: "Refused",
        Kind.VOTE: "First approval",
        Kind.WITHDRAWN: "Withdrawn",
    }[entry.kind]
    said = f": {entry.comment}" if entry.comment else ""
    return f"{verb} ({entry.actor}, {entry.at:%Y-%m-%d %H:%M:%S} UTC){said}"


def _description(version: ModelVersion, current: Standing) -> str | None:
    last = current.last
    if last is None or last.kind not in {Kind.REFUSED, Kind.VOTE, Kind.WITHDRAWN}:
        return None
    line = f"- {sentence(last)}"
    if line in version.description:
        return None
    head = "" if HEADING in version.description else f"\n\n{HEADING}\n"
    return f"{version.description.rstrip()}{head}\n{line}\n"


def _wishes(version: ModelVersion, current: Standing, gestures: Sequence[Gesture]) -> Iterator[Wish]:
    """Unanswered gestures; without any that changes something, the tag itself."""
    fresh = [gesture for gesture in gestures if gesture.confirmed and gesture.seq > current.answered]
    note = version.tags.get("approval_comment", "")
    wishes = [
        Wish(
            gesture.value,
            gesture.actor,
            gesture.authenticated,
            comment=note,
            answered=gesture.seq,
            peer=gesture.peer,
        )
        for gesture in fresh
    ]
    if any(_act(current, wish) for wish in wishes):
        yield from wishes
        return
    in_step = current.last is None or version.tags.get(SEEN) == current.last.id
    if in_step:
        latest = max((gesture.seq for gesture in gestures), default=0)
        yield Wish(version.tags.get(STATUS, ""), ANONYMOUS, comment=note, answered=latest)


def _act(current: Standing, wish: Wish) -> Act | Literal["refuse"] | None:
    """What the wish means where the version stands; `refuse` for a value nobody knows."""
    if wish.status == current.status:
        return None
    if wish.status == APPROVED:
        return "approve"
    if current.registered is None and current.last is None:
        return None
    if wish.status == REJECTED:
        return "reject"
    if wish.status == PENDING:
        return "withdraw"
    if current.status == APPROVED:
        return "withdraw"
    return "refuse" if wish.value.strip() else None


def _unknown(wish: Wish) -> str:
    if not wish.value.strip():
        return "The tag was removed, which takes the approval back."
    return (
        f"{wish.value.strip()[:80]!r} is not a status and counts as not approved: set Approved or Rejected."
    )


def _by_rule(
    version: ModelVersion,
    story: Sequence[Entry],
    gestures: Sequence[Gesture],
    policy: Approval,
    evidence: Evidence | str,
    now: datetime,
) -> Entry | None:
    """The approval that the project's rules give without a person."""
    current = standing(story)
    if current.registered is None or current.decided or current.votes or current.status != PENDING:
        return None
    holds, reason = automatic(policy, evidence, story)
    claims = Claims(version.tags.get("digest", ""), version.tags.get(EVIDENCE, ""))
    registered = (current.registered.digest, current.registered.evidence)
    if not holds or isinstance(evidence, str) or (claims.digest, claims.evidence) != registered:
        return None
    if evidence.sha256 != claims.evidence or evidence.digest not in {"", claims.digest}:
        return None
    latest = max((gesture.seq for gesture in gestures), default=0)
    wish = Wish(APPROVED, "policy", authenticated=True, source="policy", answered=latest)
    return _entry(Kind.APPROVED, _Case(version, policy, now, "staging"), current, wish, reason)


@dataclass(frozen=True, slots=True)
class _Case:
    """What all entries of one look have in common."""

    version: ModelVersion
    policy: Approval
    now: datetime
    stage: Stage


def _entry(kind: Kind, case: _Case, current: Standing, wish: Wish, note: str) -> Entry:
    version = case.version
    after = current.newest.id if current.newest else ""
    return Entry(
        id=name(kind, version.model, version.version, after, case.stage),
        at=case.now,
        kind=kind,
        model=version.model,
        version=version.version,
        stage=case.stage,
        actor=wish.actor or ANONYMOUS,
        source=wish.source,
        comment=note,
        digest=version.tags.get("digest", "")[:64],
        evidence=version.tags.get(EVIDENCE, "")[:64],
        policy=policy_text(case.policy),
        details={
            "answered": wish.answered,
            "asked": wish.value[:200],
            "authenticated": wish.authenticated,
            "comment": wish.comment[:4000],
            "peer": wish.peer,
        },
    )


def policy_text(policy: Approval) -> str:
    """The policy as canonical JSON, as entries carry it."""
    return canonical(policy.model_dump(mode="json"))
