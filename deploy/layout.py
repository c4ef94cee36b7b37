"""How the requests of one endpoint are divided, and how a file of routes remembers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploy.port import Share
from deploy.sticky import Rule, Segment, partition

ACTIVATOR, SIDECAR = "activator", "sidecar"
"""Who of ours may stand between the gateway and a model server, and says there what only we may say."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one endpoint's requests are divided."""

    shares: tuple[Share, ...]
    sticky: str = ""
    """`header:NAME` or `cookie:NAME` of what identifies a client; empty when each request stands alone."""
    segments: tuple[Segment, ...] = ()
    """Which clients each fleet has, when they stick."""
    asynchronous: bool = False
    """It takes asynchronous calls, and none that wait for their answer."""
    many_models: bool = False
    """A caller says which of its models shall answer."""
    fronts: tuple[tuple[str, str], ...] = ()
    """Who of ours answers in front of a fleet's model servers, by fleet: `ACTIVATOR` or `SIDECAR`."""

    def front(self, fleet: str) -> str:
        """Who of ours answers in front of a fleet; empty when its model servers do."""
        return dict(self.fronts).get(fleet, "")


def arrange(
    before: Layout | None,
    shares: tuple[Share, ...],
    sticky: str = "",
    *,
    asynchronous: bool = False,
    many_models: bool = False,
    fronts: Mapping[str, str] | None = None,
) -> Layout:
    """The layout for a split; clients that stick stay where they are as far as the split allows.

    Raises:
        ValueError: the weights do not sum to 100, or `sticky` is no rule.
    """
    total = sum(share.weight for share in shares)
    if shares and not math.isclose(total, 100, abs_tol=1e-6):
        raise ValueError(f"the weights sum to {total:g}; make them sum to 100")
    if not shares:
        return Layout(shares)
    known = {share.fleet for share in shares}
    before_them = tuple(sorted((fleet, who) for fleet, who in (fronts or {}).items() if fleet in known))
    flags: dict[str, Any] = {
        "asynchronous": asynchronous,
        "many_models": many_models,
        "fronts": before_them,
    }
    if Rule.parse(sticky) is None:
        return Layout(shares, **flags)
    old = before.segments if before and before.sticky == sticky else ()
    segments = partition(old, {share.fleet: share.weight for share in shares})
    return Layout(shares, sticky, segments, **flags)


def remembered(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """The layouts as plain data."""
    return {name: asdict(layout) for name, layout in layouts.items()}


def recalled(kept: Mapping[str, Any]) -> dict[str, Layout]:
    """What `remembered` was given; also by an older version, which knew fewer fields."""
    return {name: _recalled(one) for name, one in kept.items()}


def _recalled(kept: Mapping[str, Any]) -> Layout:
    shares = tuple(Share(**share) for share in kept["shares"])
    segments = tuple(Segment(**segment) for segment in kept["segments"])
    flags = {name: bool(kept.get(name)) for name in ("asynchronous", "many_models")}
    fronts = tuple((fleet, who) for fleet, who in kept.get("fronts", ()))
    return Layout(shares, kept["sticky"], segments, **flags, fronts=fronts)
