"""May this person do this to this version? Pure rules over the project's approval section and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from configs.project import Approval, RiskRule
from registry.entry import Entry, Stage
from registry.evidence import Evidence, together
from registry.standing import APPROVED, Standing, standing

Act = Literal["approve", "reject", "withdraw"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody wants."""

    act: Act
    actor: str
    """The name as the source knows it; empty when it knows none."""
    authenticated: bool
    """The source has checked the name."""
    stage: Stage = "staging"


@dataclass(frozen=True, slots=True)
class Claims:
    """What the version in the registry says about itself, to be held against the ledger."""

    digest: str
    """Its `digest` tag."""
    evidence: str
    """Its `evidence` tag."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with a sentence for people."""

    outcome: Literal["allowed", "refused", "vote"]
    """`vote`: counted, and one more person must approve."""
    reason: str = ""


ALLOWED = Decision("allowed")


def propose(
    policy: Approval,
    evidence: Evidence | str,
    entries: Sequence[Entry],
    proposal: Proposal,
    claims: Claims,
) -> Decision:
    """Judge a proposed act.

    Args:
        policy: the approval section of the project the version was built from.
        evidence: the version's evidence, or a sentence that says why it cannot be read.
        entries: the ledger's entries of the version, oldest first.
        proposal: who wants what.
        claims: the version's own digest and evidence hash.
    """
    stage = standing(entries, proposal.stage)
    if proposal.act != "approve":
        return may_decide(policy, proposal, stage.author) or ALLOWED
    refusal = (
        _not_ours(stage, claims)
        or _not_yet(entries, proposal)
        or may_decide(policy, proposal, stage.author)
        or _evidence_lacks(policy, evidence, entries, claims)
    )
    return refusal or _count(policy, stage, proposal)


def may_decide(policy: Approval, proposal: Proposal, author: str) -> Decision | None:
    """The refusal that the person alone earns, whatever the version; None when there is none."""
    if not proposal.authenticated and not policy.allow_unauthenticated:
        return _refused(
            "The project forbids approvals by unauthenticated people: switch on the registry's "
            "authentication, or use `seaway approve`."
        )
    named = bool(_plain(proposal.actor))
    listed = {_plain(name) for name in policy.approvers}
    if listed and _plain(proposal.actor) not in listed:
        people = " or ".join(policy.approvers)
        who = f"{proposal.actor} is" if named else "Somebody without a name is"
        return _refused(f"{who} not an approver of this model: ask {people}.")
    if proposal.act != "approve":
        return None
    if not policy.self_approval:
        if not named:
            return _refused(
                "The author may not approve, and the registry does not know who you are: switch on its "
                "authentication, or use `seaway approve`."
            )
        if _plain(proposal.actor) == _plain(author):
            return _refused(f"{proposal.actor} built this version and may not approve it: ask somebody else.")
    if policy.persons > 1 and not named:
        return _refused(
            "Two people must approve, and the registry does not know who you are: switch on its "
            "authentication, or use `seaway approve`."
        )
    return None


def automatic(policy: Approval, evidence: Evidence | str, entries: Sequence[Entry] = ()) -> tuple[bool, str]:
    """Whether the rules approve without a person, and the reason either way.

    Args:
        policy: the approval section of the project the version was built from.
        evidence: the version's evidence, or a sentence that says why it cannot be read.
        entries: the ledger's entries of the version, oldest first, for what was attached later.
    """
    if not policy.automatic:
        return False, "the project has no rule for automatic approval"
    if isinstance(evidence, str):
        return False, evidence
    evidence = together(evidence, entries)
    if lack := _missing(policy, evidence):
        return False, lack
    for rule in policy.automatic:
        if fault := _breaks(rule, evidence.metrics):
            return False, fault
    return True, "; ".join(_says(rule, evidence.metrics) for rule in policy.automatic)


def _not_ours(stage: Standing, claims: Claims) -> Decision | None:
    if stage.registered is None:
        return _refused("This version was not registered by Seaway: build it with `seaway build`.")
    if not claims.digest or claims.digest != stage.registered.digest:
        return _refused(
            "The `digest` tag is not the digest that was registered: this version was changed or copied; "
            "build it again."
        )
    if claims.evidence != stage.registered.evidence:
        return _refused(
            "The `evidence` tag is not the hash that was registered: this version was changed or copied; "
            "build it again."
        )
    return None


def _not_yet(entries: Sequence[Entry], proposal: Proposal) -> Decision | None:
    if proposal.stage == "production" and standing(entries, "staging").status != APPROVED:
        return _refused("This version is not approved for staging: approve it there first.")
    return None


def _evidence_lacks(
    policy: Approval, evidence: Evidence | str, entries: Sequence[Entry], claims: Claims
) -> Decision | None:
    if isinstance(evidence, str):
        return _refused(f"The evidence cannot be used: {evidence}.")
    if evidence.sha256 != claims.evidence or (evidence.digest and evidence.digest != claims.digest):
        return _refused("The evidence is about another package: build the version again.")
    lack = _missing(policy, together(evidence, entries))
    return _refused(f"{lack[0].upper()}{lack[1:]}.") if lack else None


def _missing(policy: Approval, evidence: Evidence) -> str:
    absent = [kind for kind in policy.required_evidence if kind not in evidence.kinds]
    if absent:
        return (
            f"required evidence is missing ({', '.join(absent)}): run these steps and register again, "
            "or attach it (`seaway replay` attaches a replay)"
        )
    failed = [
        kind for kind in policy.required_evidence if evidence.kinds[kind].get("passed", True) is not True
    ]
    if failed:
        return f"required evidence did not pass ({', '.join(failed)}): improve the model and build again"
    return ""


def _count(policy: Approval, stage: Standing, proposal: Proposal) -> Decision:
    if policy.persons < 2:
        return ALLOWED
    voters = {_plain(vote.actor): vote.actor for vote in stage.votes}
    if _plain(proposal.actor) in voters:
        return _refused(f"{proposal.actor} has already approved: a second person must approve too.")
    if not voters:
        return Decision("vote", f"{proposal.actor} approved; a second person must set Approved too.")
    return ALLOWED


def _breaks(rule: RiskRule, metrics: Mapping[str, float]) -> str:
    value = metrics.get(rule.metric)
    if value is None or value != value:  # noqa: PLR0124  (NaN)
        return f"{rule.metric} is not in the evidence"
    if rule.min is not None and value < rule.min:
        return f"{rule.metric} = {value:g} is below {rule.min:g}"
    if rule.max is not None and value > rule.max:
        return f"{rule.metric} = {value:g} is above {rule.max:g}"
    if rule.min is None and rule.max is None:
        return f"the rule on {rule.metric} has no limit"
    return ""


def _says(rule: RiskRule, metrics: Mapping[str, float]) -> str:
    bounds = ((">=", rule.min), ("<=", rule.max))
    limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return f"{rule.metric} = {metrics[rule.metric]:g} ({limits})"


def _plain(name: str) -> str:
    return name.strip().casefold()


def _refused(reason: str) -> Decision:
    return Decision("refused", reason)
