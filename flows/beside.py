"""Variants beside an endpoint's stable release: approved versions, put there and taken away by people."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from deploy import variants
from deploy.errors import RolloutRefused
from deploy.plan import at_once, plan
from deploy.release import Request
from deploy.stored import Endpoint, Rollout
from deploy.variants import Arrangement, Variant
from flows.dossier import Dossier, fetch
from flows.releasing import instance_environment, release
from flows.wiring import Wiring
from registry.standing import standing

SHADOW_TEST = timedelta(days=7)
"""How long a shadow test lasts unless told otherwise, as SageMaker's do."""
LONGEST_SHADOW_TEST = timedelta(days=30)


def approved(wiring: Wiring, model: str, version: str) -> Dossier:
    """Everything about an approved version, its package verified and on this machine.

    Raises:
        RolloutRefused: it is not approved.
        PackageDamaged: the package is not the approved one.
    """
    current = standing(wiring.desk.ledger.entries(model, version))
    if current.approval is None:
        raise RolloutRefused(
            f"{model} version {version} is {current.status}; "
            f"approve it first: seaway approve {model} {version}"
        )
    return fetch(wiring.registry, wiring.desk.ledger, wiring.archives, (model, version, current.approval.id))


def put(
    wiring: Wiring, endpoint: str, dossier: Dossier, count: int, wanted: Variant | None = None
) -> Variant:
    """Let an approved version serve beside the stable one; again with other numbers changes them.

    Args:
        wiring: of this installation.
        endpoint: name of the endpoint.
        dossier: the approved version.
        count: instances.
        wanted: weight, mirror and end; no traffic when not given.

    Raises:
        RolloutRefused: the endpoint serves nothing, or this very version, a rollout runs on it, or one of
            the two is serverless.
    """
    version, production = dossier.version, dossier.project.production
    environment = instance_environment(production, wiring.settings.home)
    beside = release(dossier, count, environment)
    variant = replace(wanted, release=beside) if wanted else Variant(beside)

    def change(found: Endpoint, arrangement: Arrangement) -> Arrangement:
        if found.stable and found.stable.variant == variant.name:
            raise RolloutRefused(f"endpoint {endpoint} serves version {version.version} already")
        variants.check_beside(found.stable, beside)
        return variants.with_variant(arrangement, variant)

    wiring.store.rearrange(endpoint, wiring.archives, change)
    return variant


def take(wiring: Wiring, endpoint: str, name: str) -> None:
    """Take a variant away; its instances finish what they have and end.

    Raises:
        RolloutRefused: there is no such variant.
    """
    wiring.store.rearrange(
        endpoint, wiring.archives, lambda _found, arrangement: variants.without_variant(arrangement, name)
    )


def weigh(
    wiring: Wiring, endpoint: str, weights: dict[str, float], counts: dict[str, int]
) -> tuple[Endpoint, Arrangement]:
    """Set weights and instance counts by variant name; those not named stay as they are.

    Raises:
        RolloutRefused: an unknown variant, or nobody left to answer.
    """
    arrangement = wiring.store.rearrange(
        endpoint,
        wiring.archives,
        lambda found, now: variants.with_weights(
            now, found.stable.variant if found.stable else "", weights, counts
        ),
    )
    endpoint_now = wiring.store.endpoint(endpoint)
    if endpoint_now is None:
        raise RolloutRefused(f"endpoint {endpoint} was removed meanwhile")
    return endpoint_now, arrangement


def promote(wiring: Wiring, endpoint: str, name: str, now: datetime, *, gently: bool) -> Rollout:
    """Make a variant the production one: by its project's rollout, or at once.

    Raises:
        RolloutRefused: there is no such variant, or its approval is not in force any more, or the second
            approval that its project asks for is missing.
    """
    variant = wiring.store.arrangement(endpoint).variant(name)
    if variant is None:
        raise RolloutRefused(f"endpoint {endpoint} has no variant {name}; see `seaway variants list`")
    dossier = approved(wiring, variant.release.model, variant.release.version)
    _second_gate(wiring, dossier)
    production = dossier.project.production
    found = wiring.store.endpoint(endpoint)
    request = Request(
        id=f"{dossier.approval.id}:promote-{uuid.uuid4().hex[:8]}",
        endpoint=endpoint,
        release=replace(
            variant.release, instance_count=production.instance_count, scaling=production.scaling
        ),
        plan=plan(production.rollout, wiring.target.capabilities, production.most_instances)
        if gently
        else at_once(),
        judge=production.judge,
        alarms=production.alarms,
        champion=bool(found and found.champion),
        requested_by=dossier.approval.actor,
        notify=production.notify,
        sticky=wiring.store.arrangement(endpoint).sticky,
    )
    return wiring.store.ask(request, now)


def _second_gate(wiring: Wiring, dossier: Dossier) -> None:
    version = dossier.version
    if not dossier.project.production.approval:
        return
    if standing(wiring.desk.ledger.entries(version.model, version.version), "production").approval is None:
        raise RolloutRefused(
            f"{version.model} version {version.version} needs its second approval: "
            f"seaway approve {version.model} {version.version} --stage production"
        )
