"""The quality guard: the version that serves against the one before it, on the same labelled rows. Pure.

Labels come days after the rollout has ended. For every row whose label is known, both versions are right or
wrong; rows on which one is right and the other wrong decide, by the test that may be looked at after every
label (`monitoring.discordance`). A version that is no worse is called worse with probability at most alpha,
however often and however long one looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitoring.discordance import log_evidence, sign_test

Verdict = Literal["worse", "better", "undecided"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the labelled rows say about the version that serves."""

    rows: int
    """Rows with a label that both versions have predicted."""
    lost: int
    """Of them, those where only the version before was right, or nearer."""
    won: int
    """Those where only the version that serves was."""
    log_harm: float
    """Natural logarithm of the e-value against "it is no worse"."""
    log_gain: float
    """The same against "it is no better"."""
    p_value: float
    """Of the exact McNemar test; not to be watched."""
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"of {self.rows:,} labelled rows the version before was better on {self.lost:,} and worse on "
            f"{self.won:,}: {self.verdict} (e-value {math.exp(min(self.log_harm, 700)):.3g} for harm)"
        )


def weigh(lost: int, won: int, rows: int, *, alpha: float, minimum: int = 0) -> Guarded:
    """The verdict on counts.

    Args:
        lost: rows on which the version that serves did worse.
        won: rows on which it did better.
        rows: all rows with a label.
        alpha: risk of calling it worse when it is not, over all looks.
        minimum: fewer labelled rows decide nothing.
    """
    harm, gain = log_evidence(lost, won), log_evidence(won, lost)
    bar = -math.log(alpha)
    verdict: Verdict = "undecided"
    if rows >= minimum:
        verdict = "worse" if harm >= bar else "better" if gain >= bar else "undecided"
    return Guarded(rows, lost, won, harm, gain, sign_test(lost, won), verdict)


def classes(labels: npt.NDArray[Any], serving: npt.NDArray[Any], before: npt.NDArray[Any]) -> tuple[int, int]:
    """Rows lost and won by a classifier; the three arrays have one value for each row."""
    ours, theirs = serving == labels, before == labels
    return int(np.sum(~ours & theirs)), int(np.sum(ours & ~theirs))


def numbers(
    labels: npt.NDArray[np.float64], serving: npt.NDArray[np.float64], before: npt.NDArray[np.float64]
) -> tuple[int, int]:
    """Rows lost and won by a regression: who is nearer; equally near, or not finite in any, says nothing."""
    known = np.isfinite(labels) & np.isfinite(serving) & np.isfinite(before)
    ours, theirs = np.abs(serving - labels)[known], np.abs(before - labels)[known]
    return int(np.sum(ours > theirs)), int(np.sum(ours < theirs))
