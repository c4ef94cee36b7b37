"""An alarm that may be watched every day: drift over many windows, with one error rate for all of time.

A threshold that is crossed by chance on one day in twenty is crossed, sooner or later, by every healthy
model. Here the probability that a healthy model *ever* raises the alarm is at most alpha, wherever one stops
looking, however many windows there are and however large each is.

The null: given the past, the rows of each window are drawn independently, and each event of `reference`
(a value below a decile, a category, an unseen one, a missing one) has a share within the interval that the
baseline and the tolerance leave open. The shares may differ from window to window inside it. Rows that come
in clumps (the same person ten times) break independence; `design`, the rows per clump, divides the counts.

The bet: for a bound h of the interval and alternatives t beyond it, a window with k of n rows multiplies

    e = (t / h)^k ((1 - t) / (1 - h))^(n - k),

whose expectation is at most 1 under the null because it grows with k and is 1 on average at h. Alternatives
are eight steps in log-odds, fixed by the baseline alone, so the bet is predictable. What a sketch leaves open
is counted against the alarm. Since nobody knows when a shift begins, bets start before each window s with
weight w(s) = 1 / (s (s + 1)), and

    S(s) = (S(s - 1) + w(s)) e(s),    E(s) = mean of S over bounds and alternatives + 1 / (s + 1)

is an e-process with one number of memory for each bet. The mean over features is one again, under any
dependence between them. The alarm is raised when it reaches 2 / alpha: Ville's inequality spends alpha / 2,
and the intervals of the baseline, which is a sample too, the other half. Which features drifted is answered
by e-BH, at a rate of false discoveries of alpha / 2.

Without the baseline's half the claim would be false: a thousand days at a thousand rows see differences ten
times smaller than what a baseline of ten thousand rows knows of the truth.

Sources: Shin, Ramdas and Rinaldo, "E-detectors" (2023); Vovk and Wang, "E-values" (2021); Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting" (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monitoring.drift.discoveries import by_evidence
from monitoring.drift.distribution import Floats
from monitoring.drift.reference import Count, Event, count, events
from monitoring.profiles import Profile

ALPHA = 0.05
TOLERANCE = 0.02
"""By default two points of an even share may move unremarked; see `reference.events`."""
STEPS = tuple(0.03 * 100 ** (j / 7) for j in range(8))
"""Alternatives: how far beyond the bound, in log-odds, from 0.03 to 3."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is watched, and against what. Equal baselines and numbers give an equal reference."""

    baseline: Profile
    events: tuple[Event, ...]
    alpha: float
    design: float

    @property
    def features(self) -> tuple[str, ...]:
        """Columns with at least one event, in the order of the baseline."""
        return tuple(dict.fromkeys(event.feature for event in self.events))


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What all windows so far say. Looking at one more gives a new value; nothing else is remembered."""

    windows: int = 0
    bets: Floats = field(default_factory=lambda: np.empty((0, 0)))
    """log S of each event (rows), bound and alternative (columns)."""
    features: Mapping[str, float] = field(default_factory=dict)
    """Natural logarithm of each feature's e-value."""
    log_evidence: float = 0.0
    """The same for all of them together."""
    alarmed_at: int | None = None
    """Number of the window, from 1, at which the alarm was first raised; it stays raised."""
    drifting: tuple[str, ...] = ()
    """Features that have drifted, by e-BH, the strongest evidence first."""


def begin(
    baseline: Profile, *, alpha: float = ALPHA, tolerance: float = TOLERANCE, design: float = 1.0
) -> Reference:
    """What to watch from a baseline.

    Args:
        baseline: its profile; columns that begin with `@` count like all others.
        alpha: probability, at most, of an alarm while nothing drifts, over all of time.
        tolerance: change of a share that counts as none; see `reference.events`.
        design: rows that come together as one; 1 when each stands for itself.

    Raises:
        ValueError: alpha is not a probability, or design below 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not be {alpha}")
    if design < 1:
        raise ValueError(f"design must be at least 1, not {design}")
    return Reference(baseline, events(baseline, alpha / 2, tolerance), alpha, design)


def look(reference: Reference, watch: Watch, window: Profile) -> Watch:
    """The watch after one more window; windows must not share rows, and one without rows changes nothing."""
    if not window.rows:
        return watch
    return weigh(reference, watch, count(reference.events, reference.baseline, window))


def weigh(reference: Reference, watch: Watch, counts: Sequence[Count]) -> Watch:
    """As `look`, from the counts of the reference's events.

    Raises:
        ValueError: the watch was begun with another reference.
    """
    shape = (len(reference.events), 2 * len(STEPS))
    if watch.windows and watch.bets.shape != shape:
        raise ValueError("this watch belongs to another baseline; begin a new one")
    if not reference.events:
        return watch
    before = watch.bets if watch.windows else np.full(shape, -math.inf)
    place = watch.windows + 1
    bets = np.logaddexp(before, -math.log(place * (place + 1))) + _log_e(reference, counts)
    features = _by_feature(reference, bets, 1 / (place + 1))
    total = _log_mean(np.array(list(features.values())))
    raised = total >= math.log(2 / reference.alpha)
    at = watch.alarmed_at or (place if raised else None)
    return Watch(place, bets, features, total, at, by_evidence(features, reference.alpha / 2))


def _log_e(reference: Reference, counts: Sequence[Count]) -> Floats:
    """Logarithm of the factor of each bet: first the bounds above, then those below."""
    low = np.array([event.low for event in reference.events])
    high = np.array([event.high for event in reference.events])
    least, most, n = (
        np.array([getattr(one, name) for one in counts]) / reference.design for name in ("least", "most", "n")
    )
    return np.hstack((_factor(high, least, n), _factor(1 - low, n - most, n)))


def _factor(bound: Floats, k: Floats, n: Floats) -> Floats:
    """For "the share is at most the bound"; a bound of 1 cannot be betted against."""
    open_ = (bound > 0) & (bound < 1)
    held = np.where(open_, bound, 0.5)[:, None]
    odds = held / (1 - held) * np.exp(np.array(STEPS))[None, :]
    other = odds / (1 + odds)
    factor = k[:, None] * np.log(other / held) + (n - k)[:, None] * (-np.log1p(odds) - np.log1p(-held))
    return np.where(open_[:, None], factor, 0.0)


def _by_feature(reference: Reference, bets: Floats, rest: float) -> dict[str, float]:
    rows: dict[str, list[int]] = {}
    for place, event in enumerate(reference.events):
        rows.setdefault(event.feature, []).append(place)
    return {
        name: float(np.logaddexp(_log_mean(bets[places]), math.log(rest))) for name, places in rows.items()
    }


def _log_mean(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def document(watch: Watch) -> dict[str, Any]:
    """The watch as JSON-able data, to be kept between windows."""
    return {
        "windows": watch.windows,
        "bets": watch.bets.tolist(),
        "features": dict(watch.features),
        "log_evidence": watch.log_evidence,
        "alarmed_at": watch.alarmed_at,
        "drifting": list(watch.drifting),
    }


def read(document: Mapping[str, Any]) -> Watch:
    """A watch from `document`."""
    return Watch(
        int(document["windows"]),
        np.array(document["bets"], dtype=float),
        {str(name): float(value) for name, value in document["features"].items()},
        float(document["log_evidence"]),
        document["alarmed_at"],
        tuple(document["drifting"]),
    )
