"""The alarm of `sequence` carried from window to window, whatever comes late and however often one looks.

A `Chain` remembers what every recent window counted, each under the time it was scheduled for, and one watch
that holds all older ones. A window that is looked at again takes its own place, so that looking twice counts
once; rows that came late are further rows of the same bet, which keeps the error rate. No row counts twice:
of a window that overlaps others only the part after them is counted.

Links older than two days, or beyond two hundred, are settled: added to the watch for good. What comes later
than that changes the window's report, not the watch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring.drift import sequence
from monitoring.drift.reference import Count
from monitoring.drift.sequence import Reference, Watch
from monitoring.findings import Figure, Finding, Violation

CHECK = "drift_over_time_check"
"""Ours; Model Monitor judges every window by itself."""
INPUTS = "@inputs"
"""What the violation is about: all columns together."""
NAMED = 5
"""Most columns that its sentence names."""
FIGURE, OF_FEATURE = "drift_over_time", "feature_drift_over_time_"
OPEN, LINKS = timedelta(days=2), 200
"""How long, and how many, links are kept open for what comes late."""


@dataclass(frozen=True, slots=True)
class Link:
    """What one window counted."""

    scheduled: datetime
    """Names the window."""
    begun: datetime
    ended: datetime
    """The part that is counted, up to and without `ended`."""
    counts: tuple[Count, ...]
    """Of the reference's events."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Everything that was counted against one reference."""

    settled: Watch = field(default_factory=Watch)
    through: datetime | None = None
    """Rows before this moment are settled."""
    raised: datetime | None = None
    """End of the window at which the alarm was first raised, if that is settled."""
    links: tuple[Link, ...] = ()
    """In the order in which they were first looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How the alarm stands after a window."""

    watch: Watch
    alpha: float
    raised: datetime | None = None
    """End of the window at which it was first raised."""

    @property
    def limit(self) -> float:
        """Logarithm to base 10 of the evidence that raises it."""
        return math.log10(2 / self.alpha)

    @property
    def evidence(self) -> float:
        """Logarithm to base 10 of the evidence of all columns together."""
        return self.watch.log_evidence / math.log(10)

    @property
    def drifting(self) -> bool:
        """It is raised now."""
        return bool(self.watch.windows) and self.evidence >= self.limit


def part(
    chain: Chain, scheduled: datetime, begun: datetime, ended: datetime
) -> tuple[datetime, datetime] | None:
    """The part of a window that is to be counted: its own as before, else what no other has counted.

    Returns None when nothing of it is left, or it is settled.
    """
    own = next((one for one in chain.links if one.scheduled == scheduled), None)
    if own is not None:
        return own.begun, own.ended
    counted = [one.ended for one in chain.links if one.begun < ended and begun < one.ended]
    since = max([begun, *counted, *([chain.through] if chain.through else [])])
    return (since, ended) if since < ended else None


def joined(reference: Reference, chain: Chain, link: Link) -> Chain:
    """The chain with one more window, or with another count of one that it has; old links are settled."""
    known = [one.scheduled for one in chain.links]
    if link.scheduled in known:
        links = tuple(link if one.scheduled == link.scheduled else one for one in chain.links)
    else:
        links = (*chain.links, link)
    return _settled(reference, replace(chain, links=links))


def _settled(reference: Reference, chain: Chain) -> Chain:
    oldest = max(one.ended for one in chain.links) - OPEN
    while len(chain.links) > LINKS or chain.links[0].ended < oldest:
        first, *rest = chain.links
        watch = _weighed(reference, chain.settled, first)
        raised = chain.raised or (first.ended if watch.alarmed_at else None)
        through = max(chain.through or first.ended, first.ended)
        chain = Chain(watch, through, raised, tuple(rest))
    return chain


def _weighed(reference: Reference, watch: Watch, link: Link) -> Watch:
    return sequence.weigh(reference, watch, link.counts)


def standing(reference: Reference, chain: Chain, scheduled: datetime) -> Standing | None:
    """How the alarm stood after a window; None when that is settled, or was never counted."""
    watch, raised = chain.settled, chain.raised
    for link in chain.links:
        watch = _weighed(reference, watch, link)
        raised = raised or (link.ended if watch.alarmed_at else None)
        if link.scheduled == scheduled:
            return Standing(watch, reference.alpha, raised)
    return None


def told(finding: Finding, stands: Standing) -> Finding:
    """A finding of data quality that also says how the alarm over time stands."""
    first = (
        (f"drift over time was first seen in the window that ended {stands.raised:%Y-%m-%d %H:%M} UTC",)
        if stands.raised and not stands.drifting
        else ()
    )
    return replace(
        finding,
        violations=(*finding.violations, *_violations(stands)),
        figures=(_whole(stands), *finding.figures, *_figures(stands)),
        notes=(*finding.notes, *first),
        details=replace(finding.details, over_time=stands) if finding.details else None,
    )


def _whole(stands: Standing) -> Figure:
    return Figure(FIGURE, stands.evidence, n=stands.watch.windows)


def _figures(stands: Standing) -> Iterator[Figure]:
    for name, log in stands.watch.features.items():
        yield Figure(f"{OF_FEATURE}{name}", log / math.log(10), n=stands.watch.windows)


def _violations(stands: Standing) -> Iterator[Violation]:
    """One for all columns together, which it names by the weight of their evidence."""
    if not stands.drifting:
        return
    watch = stands.watch
    strongest = sorted(watch.features, key=lambda name: -watch.features[name])
    named = [name for name in strongest if name in watch.drifting] or strongest[:1]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    since = f", first in the window that ended {stands.raised:%Y-%m-%d %H:%M} UTC" if stands.raised else ""
    said = (
        f"Drift over time: evidence 10^{stands.evidence:.2f} after {watch.windows} windows "
        f"exceeds threshold: 10^{stands.limit:.2f}, which is ever reached with probability "
        f"{stands.alpha:g} at most while nothing drifts{since}; columns: {', '.join(named[:NAMED])}{more}"
    )
    yield Violation(CHECK, said, (("feature_name", INPUTS),))


_TIMES = ("scheduled", "begun", "ended")


def document(chain: Chain) -> dict[str, Any]:
    """The chain as JSON-able data."""
    return {
        "settled": sequence.document(chain.settled),
        "through": _text(chain.through),
        "raised": _text(chain.raised),
        "links": [
            {
                "scheduled": _text(one.scheduled),
                "begun": _text(one.begun),
                "ended": _text(one.ended),
                "counts": [[count.least, count.most, count.n] for count in one.counts],
            }
            for one in chain.links
        ],
    }


def read(document: Mapping[str, Any]) -> Chain:
    """A chain from `document`."""
    return Chain(
        sequence.read(document["settled"]),
        _moment(document["through"]),
        _moment(document["raised"]),
        tuple(_links(document["links"])),
    )


def _links(listed: Iterable[Mapping[str, Any]]) -> Iterator[Link]:
    for one in listed:
        scheduled, begun, ended = (datetime.fromisoformat(one[name]) for name in _TIMES)
        yield Link(scheduled, begun, ended, tuple(Count(*map(float, count)) for count in one["counts"]))


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
