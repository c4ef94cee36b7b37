"""Attributions for some rows of a request, within a time: by KernelSHAP on the model as it is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.codecs import Columns
from serving.explain import kernel
from serving.explain.game import Game, Score, seed
from serving.explain.kernel import Numbers
from serving.explain.settings import Player

CALIBRATED = 1024
"""Model rows that are timed when the server starts."""
MARGIN = 0.8
"""Part of the time that is planned for; the rest is for calls that take longer than the ones before."""


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One row's attributions."""

    values: Numbers
    """By player and output; they add up to the row's score minus the expected one."""
    samples: int | None
    """Coalitions that were asked; None where the method asks for none."""
    exact: bool
    """Nothing was drawn."""


class Explainer(Protocol):
    """Explains rows of one model."""

    @property
    def method(self) -> str:
        """`kernel` or `tree`."""
        ...

    @property
    def expected(self) -> Numbers:
        """The mean score of the baseline, by output."""
        ...

    def explain(
        self, columns: Columns, rows: Sequence[int], scores: Numbers, seconds: float
    ) -> list[Explained | None]:
        """Attributions of these rows; None for each one there was no time for.

        Args:
            columns: of the request.
            rows: positions of the rows to explain.
            scores: what the model says about all rows, by row and output.
            seconds: how long it may take.
        """
        ...


def affordable(full: int, least: int, coalitions: float) -> int:
    """The number of coalitions to ask where there is time for so many: `full`, a half, a quarter, ...

    Halves, so that a row gets equal attributions whenever it gets the same number. 0 when not even `least`
    can be asked.
    """
    wanted = full
    while wanted > coalitions and wanted > least:
        wanted = max(least, wanted // 2)
    return wanted if wanted <= coalitions else 0


class _OutOfTime(Exception):
    """The time is over in the middle of a row."""


class KernelExplainer:
    """Asks the model itself.

    Args:
        score: the model; called with many rows at once.
        players: what gets attributions.
        baseline: columns of the rows to compare with.
        samples: most coalitions per row; None for `kernel.usual`.
        chance: seed, besides the row's own values.
        clock: seconds.
    """

    method = "kernel"

    def __init__(
        self,
        score: Score,
        players: Sequence[Player],
        baseline: Columns,
        *,
        samples: int | None = None,
        chance: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._score = score
        self._players = tuple(players)
        self._baseline = baseline
        self._samples = samples
        self._chance = chance
        self._clock = clock
        self.expected: Numbers = score(baseline).mean(axis=0)
        self._seconds = self._calibrated()

    def explain(
        self, columns: Columns, rows: Sequence[int], scores: Numbers, seconds: float
    ) -> list[Explained | None]:
        """See `Explainer.explain`."""
        end = self._clock() + seconds
        found: list[Explained | None] = []
        for place, row in enumerate(rows):
            left = end - self._clock()
            game = Game(self._score, self._players, self._baseline, columns, row)
            wanted = self._wanted(game, left, len(rows) - place)
            if wanted is None:
                found.append(None)
                continue
            made = kernel.design(len(game.playing), wanted, seed(columns, row, self._chance))
            try:
                found.append(self._one(game, made, scores[row], end))
            except _OutOfTime:
                found.append(None)
        return found

    def _wanted(self, game: Game, left: float, rows: int) -> int | None:
        """How many coalitions of a game to ask when `rows` rows share the time that is left."""
        m = len(game.playing)
        full = min(self._samples or kernel.usual(m), kernel.coalitions(m))
        least = kernel.least(m)
        fit = MARGIN * left / (self._seconds * game.background)
        wanted = affordable(max(full, least), least, fit / rows)
        if wanted == 0 and least:
            return least if least <= fit else None
        return wanted

    def _one(self, game: Game, made: kernel.Design, score: Numbers, end: float) -> Explained:
        began = self._clock()

        def watch(rows: int) -> None:
            nonlocal began
            now = self._clock()
            self._seconds += 0.2 * ((now - began) / rows - self._seconds)
            began = now
            if now > end:
                raise _OutOfTime

        values = np.zeros((len(self._players), len(score)))
        if game.playing:
            asked = game.values(made.members, watch) if len(made.members) else np.zeros((0, len(score)))
            values[list(game.playing)] = kernel.attributions(made, asked, self.expected, score)
        return Explained(values, len(made.members), made.exact)

    def _calibrated(self) -> float:
        """Seconds per model row."""
        rows = len(next(iter(self._baseline.values())))
        many = {
            name: np.resize(values[:, 0], max(rows, CALIBRATED)).reshape(-1, 1)
            for name, values in self._baseline.items()
        }
        self._score(many)
        began = self._clock()
        self._score(many)
        return max(1e-9, (self._clock() - began) / max(rows, CALIBRATED))
