"""KernelSHAP: Shapley values of a game with few players, from some or all of its coalitions.

A game gives every coalition S of m players a value v(S). The Shapley value of player i is

    φ_i = Σ_{S without i} |S|! (m - |S| - 1)! / m! · (v(S + i) - v(S))

and Σ φ_i = v(all) - v(none). Where all coalitions can be asked, this sum is
computed. Else φ is the solution of

    minimise Σ_S w(S) (v(S) - v(none) - Σ_{i in S} φ_i)²  subject to  Σ φ_i = v(all) - v(none)

which is the same when all S take part with w(S) = (m - 1) / (C(m,|S|) |S| (m - |S|)): Lundberg and Lee, "A
Unified Approach to Interpreting Model Predictions" (NeurIPS 2017), theorem 2. The smallest and the largest
coalitions weigh most and are all taken as long as they fit; of the sizes between, coalitions are drawn with
their complements, which halves the variance at least: Covert and Lee, "Improving KernelSHAP" (AISTATS 2021),
whose equation 7 is the solution used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Members = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Which coalitions to ask, and how much each counts."""

    members: Members
    """One line per coalition, one column per player; never none and never all players."""
    weights: Numbers
    exact: bool
    """All coalitions are there."""


def coalitions(players: int) -> int:
    """Number of coalitions, without the empty and the full one."""
    return max(0, (1 << players) - 2)


def usual(players: int) -> int:
    """Number of coalitions to ask when nobody says how many."""
    return min(2 * players + 2048, coalitions(players))


def least(players: int) -> int:
    """The smallest number that determines all attributions: each player alone, and each left out."""
    return min(2 * players, coalitions(players))


def design(players: int, samples: int, seed: int) -> Design:
    """At most `samples` coalitions, but never fewer than `least`; equal arguments give equal designs."""
    samples = max(samples, least(players))
    if samples >= coalitions(players):
        every = np.arange(1, coalitions(players) + 1)
        members = (every[:, None] >> np.arange(players)) & 1 == 1
        return Design(members, np.ones(len(members)), exact=True)
    sizes = np.arange(1, players // 2 + 1)
    shares = (players - 1) / (sizes * (players - sizes))
    shares[sizes * 2 != players] *= 2  # with the complements, which have another size
    shares /= shares.sum()
    parts, weights, left, first = [], [], samples, len(sizes)
    for place, size in enumerate(sizes):
        whole = math.comb(players, int(size)) * (1 if size * 2 == players else 2)
        if left < whole or (place > 0 and left * shares[place] / shares[place:].sum() < whole):
            first = place
            break
        parts.append(_all_of(players, int(size)))
        weights.append(np.full(whole, shares[place] / whole))
        left -= whole
    if first < len(sizes) and left >= 2:
        drawn, counts = _draw(players, sizes[first:], shares[first:], left // 2, seed)
        parts.append(drawn)
        weights.append(counts * (shares[first:].sum() / counts.sum()))
    return Design(np.vstack(parts), np.concatenate(weights), exact=False)


def attributions(made: Design, values: Numbers, none: Numbers, every: Numbers) -> Numbers:
    """Shapley values by player and output.

    Args:
        made: the coalitions that were asked.
        values: what they are worth, by coalition and output.
        none: what the empty coalition is worth, by output.
        every: what all players together are worth.
    """
    gain = every - none
    if made.exact:
        return _sum(made.members, values - none, gain)
    z = made.members.astype(np.float64)
    weighted = z * made.weights[:, None]
    solved = np.linalg.solve(
        weighted.T @ z, np.column_stack([weighted.T @ (values - none), np.ones(z.shape[1])])
    )
    free, ones = solved[:, :-1], solved[:, -1:]
    found: Numbers = free - ones * (free.sum(axis=0) - gain) / ones.sum()
    return found


def _sum(members: Members, gains: Numbers, gain: Numbers) -> Numbers:
    m = members.shape[1]
    if m == 0:
        return np.zeros((0, len(gain)))
    ways = np.array([1 / (m * math.comb(m - 1, size)) for size in range(m)])  # |S|! (m - |S| - 1)! / m!
    size = members.sum(axis=1)
    factors = np.where(members, ways[size - 1, None], -ways[np.minimum(size, m - 1), None])
    return np.asarray(factors.T @ gains + gain / m)


def _all_of(players: int, size: int) -> Members:
    """All coalitions of a size, and their complements."""
    chosen = np.array(list(combinations(range(players), size)))
    members = np.zeros((len(chosen), players), dtype=bool)
    members[np.arange(len(chosen))[:, None], chosen] = True
    return members if size * 2 == players else np.vstack([members, ~members])


def _draw(
    players: int, sizes: npt.NDArray[np.int64], shares: Numbers, pairs: int, seed: int
) -> tuple[Members, Numbers]:
    """Up to `pairs` distinct coalitions with their complements, and how often each was drawn."""
    draw = np.random.default_rng(seed)
    draws = 2 * pairs  # some twice
    size = draw.choice(sizes, draws, p=shares / shares.sum())
    ranks = draw.random((draws, players)).argsort(axis=1).argsort(axis=1)
    members = ranks < size[:, None]
    turned = (size * 2 == players) & ~members[:, 0]  # a half and the other half are the same pair
    members[turned] = ~members[turned]
    _, first, which = np.unique(np.packbits(members, axis=1), axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)[:pairs]
    end = np.sort(first)[pairs] if len(first) > pairs else draws  # the draw that would be one too many
    counts = np.bincount(which.reshape(-1)[:end], minlength=len(first))[which.reshape(-1)[order]]
    distinct = members[order]
    return np.vstack([distinct, ~distinct]), np.tile(counts.astype(np.float64), 2)
