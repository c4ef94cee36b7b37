"""Paired figures as distributions: how far scores moved, how much slower, how much better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from monitoring.discordance import log_evidence, looks, sign_test
from monitoring.ranks import bounds

BINS = 40
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
PERCENTILES = (0.5, 0.9, 0.95, 0.99)
CONFIDENCE = 0.95

Bounds = tuple[float | None, float | None]
"""Lower and upper; None where there are too few values for one."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How scores moved from the champion to the candidate."""

    measure: Literal["difference", "total variation"]
    """Candidate minus champion, or for several classes half the sum of absolute differences."""
    rows: int
    mean: float
    mean_absolute: float
    largest: float
    """The largest absolute difference."""
    quantiles: tuple[tuple[float, float], ...]
    edges: tuple[float, ...]
    """Bounds of the histogram's bins, ascending; empty when nothing moved."""
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of both versions on the requests that both answered, in milliseconds."""

    pairs: int
    champion: tuple[tuple[float, float], ...]
    """(share of the answers, milliseconds within which they came)."""
    candidate: tuple[tuple[float, float], ...]
    difference: tuple[tuple[float, float], ...]
    """Quantiles of the differences within pairs, candidate minus champion; not differences of quantiles."""
    slower: int
    """Pairs in which the candidate took longer."""
    faster: int
    p: float
    """Two-sided sign test on them."""
    champion_bounds: tuple[Bounds, ...]
    """Between which values each percentile lies, with the confidence below; requests count as independent."""
    candidate_bounds: tuple[Bounds, ...]
    difference_bounds: tuple[Bounds, ...]
    confidence: float = CONFIDENCE


@dataclass(frozen=True, slots=True)
class Look:
    """Evidence after some labelled pairs that differ."""

    pairs: int
    worse: float
    """Natural logarithm of the e-value against "the candidate is no worse"."""
    better: float
    """The same against "the candidate is no better"."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Who is right, over rows with a label."""

    measure: Literal["mistakes", "absolute error"]
    labelled: int
    champion: float
    """Mean of the measure."""
    candidate: float
    champion_better: int
    """Rows on which only the champion is right, or comes closer."""
    candidate_better: int
    p: float
    """Exact McNemar test on them, valid for one look at a number of pairs chosen before."""
    e_worse: float
    """Largest natural logarithm of the e-value so far against "the candidate is no worse"."""
    e_better: float
    verdict: Literal["worse", "better", "undecided"]
    """By the e-values, so that it may be asked for at any moment."""
    alpha: float
    path: tuple[Look, ...]


def scores(moved: Sequence[float], *, several: bool) -> Scores | None:
    """The distribution of score differences; None without any."""
    if not moved:
        return None
    import numpy as np

    values = np.asarray(moved, dtype=float)
    largest = float(np.abs(values).max())
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    if largest > 0:
        found, bounds = np.histogram(values, BINS, (0.0 if several else -largest, largest))
        edges, counts = tuple(bounds.tolist()), tuple(found.tolist())
    return Scores(
        measure="total variation" if several else "difference",
        rows=len(values),
        mean=float(values.mean()),
        mean_absolute=float(np.abs(values).mean()),
        largest=largest,
        quantiles=_quantiles(values, QUANTILES),
        edges=edges,
        counts=counts,
    )


def latency(champion: Sequence[float], candidate: Sequence[float]) -> Latency | None:
    """Percentiles of both sides and of the differences within pairs; None without any time.

    Args:
        champion: milliseconds, pair by pair.
        candidate: milliseconds of the same pairs.
    """
    if not champion:
        return None
    import numpy as np

    ours, theirs = np.asarray(champion, dtype=float), np.asarray(candidate, dtype=float)
    change = theirs - ours
    slower, faster = int((change > 0).sum()), int((change < 0).sum())
    return Latency(
        pairs=len(change),
        champion=_percentiles(ours),
        candidate=_percentiles(theirs),
        difference=_percentiles(change),
        champion_bounds=_bounds(np.sort(ours)),
        candidate_bounds=_bounds(np.sort(theirs)),
        difference_bounds=_bounds(np.sort(change)),
        slower=slower,
        faster=faster,
        p=sign_test(slower, faster),
    )


def quality(
    outcomes: Sequence[tuple[float, float]], measure: Literal["mistakes", "absolute error"], alpha: float
) -> Quality | None:
    """Weigh the losses of champion and candidate on labelled rows, in order of time; None without any."""
    if not outcomes:
        return None
    differing = [ours < theirs for ours, theirs in outcomes if ours != theirs]
    path = _path(differing)
    lost = sum(differing)
    worse = max((look.worse for look in path), default=0.0)
    better = max((look.better for look in path), default=0.0)
    return Quality(
        measure=measure,
        labelled=len(outcomes),
        champion=sum(ours for ours, _ in outcomes) / len(outcomes),
        candidate=sum(theirs for _, theirs in outcomes) / len(outcomes),
        champion_better=lost,
        candidate_better=len(differing) - lost,
        p=sign_test(lost, len(differing) - lost),
        e_worse=worse,
        e_better=better,
        verdict=_verdict(worse, better, alpha),
        alpha=alpha,
        path=path,
    )


def _verdict(worse: float, better: float, alpha: float) -> Literal["worse", "better", "undecided"]:
    from math import log

    limit = log(1 / alpha)
    if max(worse, better) < limit:
        return "undecided"
    return "worse" if worse >= better else "better"


def _path(differing: Sequence[bool]) -> tuple[Look, ...]:
    """The evidence at each look; `True` is a pair that the candidate loses."""
    made, lost, before = [], 0, 0
    for count in looks(len(differing)):
        lost += sum(differing[before:count])
        before = count
        made.append(Look(count, log_evidence(lost, count - lost), log_evidence(count - lost, lost)))
    return tuple(made)


def _percentiles(values: Any) -> tuple[tuple[float, float], ...]:
    """Measured values, none in between, so that each lies within its bounds."""
    return _quantiles(values, PERCENTILES, "inverted_cdf")


def _bounds(ascending: Any) -> tuple[Bounds, ...]:
    return tuple(bounds(ascending, share, 1 - CONFIDENCE) for share in PERCENTILES)


def _quantiles(
    values: object, shares: Sequence[float], method: str = "linear"
) -> tuple[tuple[float, float], ...]:
    import numpy as np

    found = np.quantile(values, shares, method=method)  # type: ignore[call-overload]
    return tuple(zip(shares, found.tolist(), strict=True))
