"""Acts of people and of the build flow that do not come through the registry's tag: CLI, API, flow form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from configs.project import Approval
from registry.decide import Mirror, Wish, answer, mirror, policy_text
from registry.entry import Entry, Kind, Source, Stage, name
from registry.errors import Conflict, NotFound, Permanent, PolicyRefused
from registry.evidence import TAG as EVIDENCE
from registry.evidence import Evidence, Shelf
from registry.gestures import Gestures
from registry.ledger import Ledger
from registry.port import STATUS, Candidate, ModelRegistry, ModelVersion
from registry.standing import PENDING, Status, standing


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a decision needs: the registry, the ledger, who set tags, and the evidence."""

    registry: ModelRegistry
    ledger: Ledger
    gestures: Gestures
    shelf: Shelf


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, and how they came."""

    name: str
    source: Source = "cli"
    authenticated: bool = True
    """The source has checked the name; a login on this machine counts."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is decided on: a version, for the gate before this stage."""

    model: str
    version: str
    stage: Stage = "staging"


def register(
    registry: ModelRegistry,
    ledger: Ledger,
    candidate: Candidate,
    policy: Approval,
    now: datetime,
    details: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Add a version to the registry and to the ledger, waiting for approval; repeating it changes nothing.

    The candidate's tags must hold `digest`, `evidence` (sha256 of evidence.json) and `author`.

    Raises:
        registry.errors.Permanent: one of these tags is missing.
        registry.errors.Temporary: the registry or the store did not answer; call it again.
    """
    if absent := [tag for tag in ("digest", EVIDENCE, "author") if not candidate.tags.get(tag)]:
        raise Permanent(f"a version cannot be registered without the tags {', '.join(absent)}; add them")
    waiting = replace(candidate, tags={**candidate.tags, STATUS: PENDING})
    version = registry.register(waiting)
    ledger.append(
        Entry(
            id=name(Kind.REGISTERED, version.model, version.version, candidate.run_id),
            at=now,
            kind=Kind.REGISTERED,
            model=version.model,
            version=version.version,
            actor=candidate.tags["author"],
            source="build",
            digest=candidate.tags["digest"],
            evidence=candidate.tags[EVIDENCE],
            policy=policy_text(policy),
            details={"run_id": candidate.run_id, **(details or {})},
        )
    )
    return version


def decide(
    desk: Desk, subject: Subject, wanted: Status, person: Person, now: datetime, comment: str = ""
) -> Entry:
    """Approve or reject a version, or make it wait again; written to the ledger first, then shown.

    Rejecting an approved version takes its approval back for good.

    Returns the entry written (of an approval the `vote` when a second person is needed), or the approval
    that is in force already.

    Raises:
        registry.errors.PolicyRefused: the policy forbids it; the refusal is in the ledger too.
        registry.errors.NotFound: no such version.
    """
    version = _version(desk.registry, subject.model, subject.version)
    while True:
        entries = desk.ledger.entries(subject.model, subject.version)
        current = standing(entries, subject.stage)
        policy = policy_of(desk, version, current.registered)
        gestures = desk.gestures.list(subject.model, subject.version)
        latest = max((gesture.seq for gesture in gestures), default=0)
        wish = Wish(wanted, person.name, person.authenticated, person.source, comment, latest)
        entry = answer(version, entries, wish, policy, evidence_of(desk, version), now, subject.stage)
        if entry is None:
            return _in_force(version, current.last)
        try:
            written = desk.ledger.append(entry, after=current.head)
        except Conflict:
            continue
        break
    if subject.stage == "staging" and (rewritten := mirror(version, standing([*entries, written]))):
        show(desk.registry, version, rewritten)
    if written.kind is Kind.REFUSED:
        raise PolicyRefused(written.comment)
    return written


def policy_of(desk: Desk, version: ModelVersion, registered: Entry | None) -> Approval:
    """The policy a version was registered under; of a version that is not ours, the default.

    Raises:
        registry.evidence.EvidenceDamaged: neither the ledger nor the run holds it.
    """
    if registered is None:
        return Approval()
    if registered.policy:
        return Approval.model_validate_json(registered.policy)
    return desk.shelf.policy(version)


def evidence_of(desk: Desk, version: ModelVersion) -> Evidence | str:
    """The version's evidence, or the sentence that says why it cannot be used."""
    try:
        return desk.shelf.evidence(version)
    except Permanent as error:
        return str(error)


def show(registry: ModelRegistry, version: ModelVersion, rewritten: Mirror) -> None:
    """Bring the tags in step with the ledger. Description first, `approval.seen` last: a crash repeats it."""
    if rewritten.description is not None:
        registry.annotate(version.model, version.version, {}, rewritten.description)
    registry.annotate(version.model, version.version, rewritten.tags)


def _version(registry: ModelRegistry, model: str, number: str) -> ModelVersion:
    for version in registry.versions(model):
        if version.version == number:
            return version
    raise NotFound(f"there is no version {number} of {model}; `seaway models` lists what there is")


def _in_force(version: ModelVersion, last: Entry | None) -> Entry:
    if last is None:
        raise PolicyRefused(f"version {version.version} of {version.model} waits for a decision already")
    return last
