"""Tests on pairs that disagree: exact McNemar, and a form of it that may be watched while pairs arrive.

Two versions answer the same requests. Pairs on which both do equally well say nothing about which is better;
of the n pairs that differ, the candidate loses `lost` and wins `won`. When the candidate is no worse, each
such pair is a loss with probability at most one half, whatever came before.

The fixed test is the sign test on them, which is McNemar's (1947) in its exact form:
p = min(1, 2 P(Bin(n, 1/2) <= min(lost, won))).

The test that may be watched is a betting martingale. Betting the share 2t - 1 of the capital on a loss
multiplies it by 2t at a loss and by 2(1 - t) at a win, which under the null is on average at most 1 for every
t >= 1/2. The capital of a bettor who spreads over all t from 1/2 to 1 evenly is

    E(lost, won) = 2 * integral over [1/2, 1] of (2t)^lost (2(1 - t))^won dt
                 = P(Bin(n + 1, 1/2) <= lost) * 2^(n + 1) / ((n + 1) C(n, lost)),

and by Ville's inequality it ever reaches 1/alpha with probability at most alpha. The other side is
E(won, lost). Neither depends on the order of the pairs; both may be looked at after any of them.

Sources: Robbins, "Statistical methods related to the law of the iterated logarithm" (1970), for the mixture;
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2024), for bets.
"""

from __future__ import annotations

import math

LOOKS = 400
"""Most looks at a series of pairs; each costs the time of one evaluation, and fewer looks stay valid."""


def tail(trials: int, most: int) -> float:
    """Natural logarithm of P(Bin(trials, 1/2) <= most); minus infinity below 0."""
    if most < 0:
        return -math.inf
    if most >= trials:
        return 0.0
    if 2 * most >= trials:
        return math.log1p(-math.exp(tail(trials, trials - most - 1)))
    total = term = 1.0
    for k in range(most, 0, -1):
        term *= k / (trials - k + 1)
        total += term
        if term < total * 1e-18:
            break
    return _log_choose(trials, most) - trials * math.log(2) + math.log(total)


def sign_test(lost: int, won: int) -> float:
    """Two-sided p-value of the exact McNemar or sign test; 1 without any pair that differs."""
    return min(1.0, 2 * math.exp(tail(lost + won, min(lost, won))))


def log_evidence(lost: int, won: int) -> float:
    """Natural logarithm of E(lost, won), the e-value against "a loss is no likelier than a win"."""
    n = lost + won
    return tail(n + 1, lost) + (n + 1) * math.log(2) - math.log(n + 1) - _log_choose(n, lost)


def looks(length: int) -> range:
    """After how many of `length` pairs to look: at all of few, evenly spread over many, the end always."""
    step = -(-length // LOOKS) or 1
    return range(length % step or step, length + 1, step) if length else range(0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
