"""Production and shadow variants beside an endpoint's stable release, and how they share its traffic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from deploy.errors import RolloutRefused
from deploy.port import Share
from deploy.release import Release


@dataclass(frozen=True, slots=True)
class Variant:
    """A release that serves beside the stable one."""

    release: Release
    weight: float = 0.0
    """Its share of the traffic is its weight divided by the sum of all."""
    mirror: int = 0
    """Percent of the traffic that is copied to it, answers discarded: a shadow variant."""
    until: datetime | None = None
    """When a shadow test ends by itself."""

    @property
    def name(self) -> str:
        """Value of the `x-Amzn-Invoked-Production-Variant` header."""
        return self.release.variant


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Everything about an endpoint's traffic beside its stable release."""

    weight: float = 1.0
    """Weight of the stable release."""
    variants: tuple[Variant, ...] = ()
    sticky: str = ""
    """`header:NAME` or `cookie:NAME` of what identifies a client; empty when each request stands alone."""

    def variant(self, name: str) -> Variant | None:
        """The variant of this name."""
        return next((one for one in self.variants if one.name == name), None)


def check_beside(stable: Release | None, release: Release) -> None:
    """Refuse a release beside the stable one where either is serverless, as such an endpoint has one variant.

    Raises:
        RolloutRefused: one of the two is.
    """
    for one in (stable, release):
        if one and one.serverless:
            raise RolloutRefused(
                f"version {one.version} is serverless, and such an endpoint has one variant and no shadow; "
                "deploy the other version to an endpoint of its own"
            )


def with_variant(arrangement: Arrangement, variant: Variant) -> Arrangement:
    """The arrangement with a variant added, or replaced by its newer self."""
    others = tuple(one for one in arrangement.variants if one.name != variant.name)
    return replace(arrangement, variants=(*others, variant))


def without_variant(arrangement: Arrangement, name: str) -> Arrangement:
    """The arrangement without a variant; the stable release gets everything when no other has a weight.

    Raises:
        RolloutRefused: there is no such variant.
    """
    if arrangement.variant(name) is None:
        raise RolloutRefused(f"there is no variant {name} beside the stable one; see `seaway variants list`")
    others = tuple(one for one in arrangement.variants if one.name != name)
    left = arrangement.weight + sum(one.weight for one in others)
    return replace(arrangement, variants=others, weight=arrangement.weight if left else 1.0)


def with_weights(
    arrangement: Arrangement, stable: str, weights: Mapping[str, float], counts: Mapping[str, int]
) -> Arrangement:
    """The arrangement with new weights and instance counts, by variant; those not named stay as they are.

    Args:
        arrangement: the one in force.
        stable: name of the stable variant.
        weights: any numbers of zero or more.
        counts: instances; only of variants beside the stable one.

    Raises:
        RolloutRefused: an unknown variant, a negative weight, or nobody left to answer.
    """
    known = {stable, *(one.name for one in arrangement.variants)}
    for name, value in {**counts, **weights}.items():
        if name not in known:
            raise RolloutRefused(f"there is no variant {name}; there are: {', '.join(sorted(known))}")
        if not 0 <= value < float("inf"):
            raise RolloutRefused(f"{name} is given {value:g}; weights and counts are zero or more")
    changed = replace(
        arrangement,
        weight=weights.get(stable, arrangement.weight),
        variants=tuple(_changed(one, weights, counts) for one in arrangement.variants),
    )
    if changed.weight + sum(one.weight for one in changed.variants) <= 0:
        raise RolloutRefused("no variant has a weight above zero, so nobody would answer; give one a weight")
    return changed


def _changed(variant: Variant, weights: Mapping[str, float], counts: Mapping[str, int]) -> Variant:
    count = counts.get(variant.name, variant.release.instance_count)
    if count < 1:
        raise RolloutRefused(f"variant {variant.name} needs an instance; remove it to stop it")
    release = replace(variant.release, instance_count=count)
    return replace(variant, release=release, weight=weights.get(variant.name, variant.weight))


def expired(arrangement: Arrangement, stable: str, now: datetime) -> tuple[Variant, ...]:
    """Shadow tests whose time is over, and a variant that has become the stable one."""
    over = [one for one in arrangement.variants if one.until and one.until <= now]
    return (*over, *(one for one in arrangement.variants if one.name == stable and one not in over))


def split(
    arrangement: Arrangement, stable: tuple[str, str], fleets: Mapping[str, str], ready: Collection[str]
) -> tuple[Share, ...]:
    """What the gateway should show. A variant without a ready instance gets no traffic.

    Args:
        arrangement: weights and mirrors.
        stable: fleet id and name of the stable variant.
        fleets: fleet ids of the other variants by name.
        ready: names of those that have a ready instance.
    """
    answering = [one for one in arrangement.variants if one.name in ready]
    weights = {stable[1]: arrangement.weight, **{one.name: one.weight for one in answering}}
    total = sum(weights.values())
    if total <= 0:
        weights, total = {stable[1]: 1.0}, 1.0
    return (
        Share(stable[0], stable[1], 100 * weights[stable[1]] / total),
        *(
            Share(fleets[one.name], one.name, 100 * weights.get(one.name, 0.0) / total, one.mirror)
            for one in answering
        ),
    )
