"""Always-valid evidence that one arm of live traffic fails more often than the other.

The test is an e-process: a running product of likelihood ratios that stays below 1/alpha with probability
1 - alpha as long as the new version is harmless, however often one looks, whatever the traffic weights do
and however the base rate moves. Per window the two arms have `n` answers with `e` events (errors, or slow
answers). Given that an event happened, harmlessness bounds the odds that it fell on the new arm.

With the new arm's share of the answers p = n_c / (n_c + n_s), a risk ratio r turns the share of events into
t(r) = r p / (r p + 1 - p). The null says r <= margin; the alternative is a uniform mixture over a grid of
larger ratios, and

    log E = log sum_j w_j exp(sum over windows of e_c ln(t(r_j) / t(margin))
                                                + e_s ln((1 - t(r_j)) / (1 - t(margin))))

Validity: with a = t(r)/t(margin) >= 1 and b = (1 - t(r)) / (1 - t(margin)), independent events with
p_c <= margin p_s give ln E[LR] <= n_c p_c (a - 1) + n_s p_s (b - 1) <= 0, because ln(1 + x) <= x.
The mirror image (r below a ratio that would be harm) certifies safety. The mean of e-values is an e-value
under any dependence, which is how several kinds of events are weighed together.

Sources: Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022);
Vovk and Wang, "E-values: calibration, combination and applications" (Annals of Statistics 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

GRID = 40
"""Alternatives in the mixture."""
LARGEST_RATIO = 20.0
"""The grid ends here; worse versions are found just as fast."""


@dataclass(frozen=True, slots=True)
class Window:
    """Answers and events of both arms in one stretch of time."""

    n_c: int
    """Answers of the new version (canary)."""
    e_c: int
    """Of them, events."""
    n_s: int
    """Answers of the version that serves (stable)."""
    e_s: int
    """Of them, events."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the windows so far say. Adding windows gives a new value; nothing else is remembered."""

    n_c: int = 0
    e_c: int = 0
    n_s: int = 0
    e_s: int = 0
    harm: tuple[float, ...] = ()
    """Log likelihood ratio of each alternative `r > margin`."""
    safe: tuple[float, ...] = ()
    """Log likelihood ratio of each alternative `r < safe_ratio`."""

    @property
    def log_harm(self) -> float:
        """Natural logarithm of the e-value against "the new version is harmless"."""
        return _log_mean_exp(self.harm)

    @property
    def log_safe(self) -> float:
        """Natural logarithm of the e-value against "the risk ratio is at least `safe_ratio`"."""
        return _log_mean_exp(self.safe)

    @property
    def ratio(self) -> float | None:
        """Observed risk ratio, with half an event added to both arms; None before both arms answered."""
        if not self.n_c or not self.n_s:
            return None
        return ((self.e_c + 0.5) / (self.n_c + 1)) / ((self.e_s + 0.5) / (self.n_s + 1))


def weigh(
    windows: Iterable[Window], margin: float = 1.0, safe_ratio: float = 2.0, start: Evidence | None = None
) -> Evidence:
    """Add windows to the evidence so far.

    Args:
        windows: counts of both arms; a window that only one arm answered in carries no information.
        margin: the largest risk ratio that counts as harmless.
        safe_ratio: the risk ratio whose exclusion certifies safety.
        start: evidence of earlier windows, taken with the same margin and safe ratio.
    """
    total = start or Evidence()
    harmful, harmless = grid(margin), tuple(safe_ratio / r for r in grid(1.0))
    harm = list(total.harm or (0.0,) * GRID)
    safe = list(total.safe or (0.0,) * GRID)
    n_c, e_c, n_s, e_s = total.n_c, total.e_c, total.n_s, total.e_s
    for window in windows:
        n_c, e_c, n_s, e_s = n_c + window.n_c, e_c + window.e_c, n_s + window.n_s, e_s + window.e_s
        if window.n_c and window.n_s and (window.e_c or window.e_s):
            _add(harm, harmful, margin, window)
            _add(safe, harmless, safe_ratio, window)
    return Evidence(n_c, e_c, n_s, e_s, tuple(harm), tuple(safe))


def _add(logs: list[float], ratios: tuple[float, ...], null: float, window: Window) -> None:
    share = window.n_c / (window.n_c + window.n_s)
    for j, ratio in enumerate(ratios):
        # ln(t(r)/t(null)) and ln((1-t(r))/(1-t(null))), written so that nothing cancels
        shrink = math.log((null * share + 1 - share) / (ratio * share + 1 - share))
        logs[j] += window.e_c * (math.log(ratio / null) + shrink) + window.e_s * shrink


@lru_cache(maxsize=32)
def grid(margin: float) -> tuple[float, ...]:
    """Alternatives above `margin`, equally spaced in the logarithm from 1.05 margin to 20 (or 20 margin)."""
    low, high = 1.05 * margin, LARGEST_RATIO * max(1.0, margin)
    step = math.log(high / low) / (GRID - 1)
    return tuple(low * math.exp(step * j) for j in range(GRID))


def combine(log_values: Iterable[float]) -> float:
    """Logarithm of the mean of e-values: again an e-value, whatever their dependence."""
    return _log_mean_exp(tuple(log_values))


def log_absolute(n: int, events: int, tolerated: float) -> float:
    """Log e-value against "the event rate is at least `tolerated`", from one arm alone.

    A uniform mixture of Bernoulli likelihood ratios over rates below `tolerated`. Certifies a version whose
    base rate is so low that no ratio can be estimated.
    """
    rates = tuple(tolerated * (j + 0.5) / GRID for j in range(GRID))
    quiet = n - events
    return _log_mean_exp(
        tuple(events * math.log(r / tolerated) + quiet * math.log((1 - r) / (1 - tolerated)) for r in rates)
    )


def _log_mean_exp(logs: tuple[float, ...]) -> float:
    if not logs:
        return 0.0
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))
