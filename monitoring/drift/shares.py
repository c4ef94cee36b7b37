"""Is a share of a window worse than its constraint, or is that chance? Exact tests, one-sided.

A constraint that a baseline suggested is itself a share of rows. So the window is held against these rows:
while nothing changed, the bad rows of both are spread over both at random, and their number in the window is
hypergeometric (Fisher's exact test). A constraint that a person set is a number, and the test is binomial.

For new categories the rows of both, shuffled, tell how likely it is that a category has all its rows in the
window: Fisher again for the largest new one, over all that could be as large, and for their number the bound
of Chernoff, which holds since these events are negatively associated (Joag-Dev and Proschan, 1983).

All tests of a window share its `alpha` (Bonferroni). Model Monitor compares the bare shares; so does a check
without a `Judge`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from monitoring.drift.distribution import Floats
from monitoring.profiles import Categories, Profile

ALPHA = 0.05
Mode = Literal["evidence", "sagemaker"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How shares are held against their constraints."""

    mode: Mode = "evidence"
    """`evidence` wants them worse by more than chance explains; `sagemaker` any worse ones."""
    alpha: float = ALPHA
    """Share of windows, at most, in which chance violates any check of a share."""
    given: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    """By column, what a person has set, and is held against as it is; names as in the project file."""
    strict: bool = False
    """Only the very type of the baseline counts as that type."""

    def judge(self, baseline: Profile) -> Judge | None:
        """What chance is judged by; None when it is not asked."""
        return Judge(baseline, self.alpha, self.given) if self.mode == "evidence" else None


@dataclass(frozen=True, slots=True)
class Judge:
    """What chance is judged by."""

    baseline: Profile
    alpha: float = ALPHA
    given: Mapping[str, AbstractSet[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unmet:
    """A share that is worse than its constraint."""

    name: str
    check: str
    share: float
    threshold: float
    bad: int
    """Rows that do not conform …"""
    n: int
    """… of so many."""
    description: str
    """SageMaker's sentence."""
    p_value: float | None = None
    """Probability of so many while nothing changed; None when chance is not asked."""
    level: float = 1.0
    """It is a violation at or below this."""

    @property
    def violated(self) -> bool:
        """It is more than chance explains."""
        return self.p_value is None or self.p_value <= self.level


def beyond_baseline(bad: float, n: float, bad_then: float, n_then: float) -> float:
    """Probability that the window has so many of the bad rows of both, or more, while nothing changed."""
    both, every = bad + bad_then, n + n_then
    last = min(n, both)
    if bad <= max(0.0, both - n_then):
        return 1.0
    spread = math.sqrt(n * both / every * (n_then / every) * (1 - both / every) + 1)
    k = np.arange(bad, min(last, bad + 100 + 50 * spread) + 1)
    logs = _choose(both, k) + _choose(every - both, n - k) - _choose(every, np.array([n]))
    return float(min(1.0, np.exp(logs).sum()))


def beyond_threshold(bad: float, n: float, share: float) -> float:
    """Probability of so many bad rows or more when this share of all rows is bad."""
    from scipy.special import betainc

    if bad <= 0 or share >= 1:
        return 1.0
    return float(betainc(bad, n - bad + 1, share)) if share > 0 else 0.0


def new_categories(then: Categories, now: Categories) -> float:
    """Probability of new categories as large or as many as these while nothing changed."""
    new = {value: count for value, count in now.counts.items() if value not in then.counts}
    if not new or not (then.exact and now.exact):
        return 0.0 if new or not now.exact else 1.0
    every = np.array(
        [now.counts.get(value, 0) + then.counts.get(value, 0) for value in {**then.counts, **now.counts}],
        dtype=float,
    )
    alone = _all_inside(every, float(now.total), float(now.total + then.total))
    largest = float(alone[every >= max(new.values())].sum())
    return min(1.0, 2 * min(largest, _chernoff(len(new), float(alone.sum()))))


def _all_inside(counts: Floats, n: float, every: float) -> Floats:
    """Probability that n of all rows, drawn at random, hold all rows of a category."""
    kept = np.minimum(counts, n)
    logs = _choose(every - kept, n - kept) - _choose(every, np.array([n]))
    return np.where(counts <= n, np.exp(logs), 0.0)


def _chernoff(count: int, mean: float) -> float:
    """Bound of the probability that a sum of negatively associated events reaches a count."""
    if count <= mean:
        return 1.0
    return math.exp(count - mean - count * math.log(count / mean)) if mean > 0 else 0.0


def _choose(n: float | Floats, k: Floats) -> Floats:
    """Logarithm of the binomial coefficient; minus infinity where there is no such choice."""
    from scipy.special import gammaln

    possible = (k >= 0) & (k <= n)
    inside = np.where(possible, k, 0.0)
    return np.where(possible, gammaln(n + 1.0) - gammaln(inside + 1) - gammaln(n - inside + 1), -np.inf)
