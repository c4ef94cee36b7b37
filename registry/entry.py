"""One line of the approvals ledger, and how lines are chained by hash."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

GENESIS = "0" * 64
"""The `previous` hash of the first entry."""
NAMESPACE = uuid.UUID("6f0a1c52-6f0e-5d0c-9a5e-5ea3a7b10c01")
"""Ids of entries are named in it, so that two processes that decide the same thing give it the same id."""

Stage = Literal["staging", "production"]
Source = Literal["cli", "registry-ui", "api", "policy", "flow-form", "build", "reconciler"]


class Kind(StrEnum):
    """What happened."""

    REGISTERED = "registered"
    """The build flow added the version; carries digest, evidence hash and the approval policy."""
    APPROVED = "approved"
    REJECTED = "rejected"
    REFUSED = "refused"
    """Somebody asked for an act that the policy forbids."""
    VOTE = "vote"
    """First of two approvals."""
    WITHDRAWN = "withdrawn"
    """An approval or a rejection was taken back."""
    TRIGGERED = "triggered"
    """The deployment of an approval was started; details hold `approval` and `flow_run_id`."""
    ALIAS_SET = "alias_set"
    """An alias was pointed at the version that Seaway wants."""
    ALIAS_MOVED = "alias_moved"
    """Somebody moved an alias by hand: an alarm."""
    ALIAS_RESTORED = "alias_restored"
    """It was put back."""
    EVIDENCE = "evidence"
    """A report about a registered version was attached; `evidence` is its sha256, details the findings."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. Without `seq` and hashes until the ledger has taken it."""

    id: str
    at: datetime
    """When, in UTC."""
    kind: Kind
    model: str
    version: str = ""
    stage: Stage = "staging"
    actor: str = ""
    """Who; the name as the source knows it."""
    source: Source = "api"
    comment: str = ""
    """What the person wrote, or why an act was refused."""
    digest: str = ""
    """sha256 of the package, as the version claimed it then."""
    evidence: str = ""
    """sha256 of `evidence.json`; of an attached report, the sha256 of that."""
    policy: str = ""
    """The approval policy as canonical JSON; empty where it played no part."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Anything further, as plain JSON values."""
    seq: int = 0
    """Place in the ledger, from 1."""
    previous: str = ""
    """Hash of the entry before."""
    hash: str = ""
    """sha256 over everything above, as canonical JSON."""

    @property
    def policy_hash(self) -> str:
        """sha256 of the policy text; empty without one."""
        return sha256(self.policy) if self.policy else ""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same value always gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(text: str) -> str:
    """Hexadecimal sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(moment: datetime) -> str:
    """A moment as text: UTC, microseconds, always the same length."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """The inverse of `stamp`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def seal(entry: Entry, seq: int, previous: str) -> Entry:
    """The entry at its place in the chain."""
    placed = replace(entry, seq=seq, previous=previous, hash="")
    return replace(placed, hash=digest(placed))


def digest(entry: Entry) -> str:
    """The hash the entry must have at its place."""
    content = asdict(entry) | {"at": stamp(entry.at), "kind": str(entry.kind)}
    content.pop("hash")
    return sha256(canonical(content))


def name(kind: Kind, model: str, version: str, after: str, stage: Stage = "staging") -> str:
    """Id of an act: the same act after the same entry has the same id, whoever decides it."""
    return str(uuid.uuid5(NAMESPACE, canonical([kind, model, version, stage, after])))
