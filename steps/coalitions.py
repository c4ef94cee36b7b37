"""Many rows' games against one baseline, asked together: KernelSHAP whose model calls are few and large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.codecs import Columns
from serving.explain import kernel
from serving.explain.game import Score, same, seed
from serving.explain.kernel import Design, Numbers

AT_ONCE = 32_768
"""Model rows per call, about."""
DESIGNS = 32
"""Sets of coalitions that the rows share: drawing one takes as long as asking the model about it, and the
errors of so many cancel out over rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Attributions of rows."""

    values: Numbers
    """By row, input and output."""
    exact: bool
    """All coalitions of every row were asked."""


@dataclass(frozen=True, slots=True, eq=False)
class _Game:
    """One row: inputs that equal the baseline in all its rows play no part."""

    row: int
    playing: tuple[int, ...]
    design: Design


class Games:
    """Explains rows by asking the model.

    Args:
        score: the model; called with many rows at once.
        names: its inputs, in order.
        background: columns of the baseline rows.
        chance: seed, besides a row's own values.
    """

    def __init__(self, score: Score, names: Sequence[str], background: Columns, chance: int) -> None:
        self._score = score
        self._names = tuple(names)
        self._background = {name: background[name][:, 0] for name in self._names}
        self._rows = len(self._background[self._names[0]])
        self._chance = chance
        self._design = cache(kernel.design)
        self.expected: Numbers = score(background).mean(axis=0)
        """The mean score of the baseline, by output."""

    def explain(
        self, columns: Columns, scores: Numbers, samples: int | None, progress: Callable[[int, int], object]
    ) -> Asked:
        """Attributions of all rows.

        Args:
            columns: the rows.
            scores: what the model says of them, by row and output.
            samples: most coalitions per row; None for `kernel.usual`.
            progress: told how many rows are explained, and of how many.
        """
        values = np.zeros((len(scores), len(self._names), scores.shape[1]))
        exact, waiting, size = True, list[_Game](), 0
        for row in range(len(scores)):
            game = self._game(columns, row, samples)
            exact = exact and game.design.exact
            waiting.append(game)
            size += len(game.design.members) * self._rows
            if size >= AT_ONCE or row == len(scores) - 1:
                self._play(waiting, columns, scores, values)
                waiting, size = [], 0
                progress(row + 1, len(scores))
        return Asked(values, exact)

    def _game(self, columns: Columns, row: int, samples: int | None) -> _Game:
        playing = tuple(
            place
            for place, name in enumerate(self._names)
            if not same(self._background[name], columns[name][row, 0]).all()
        )
        m = len(playing)
        full = min(samples or kernel.usual(m), kernel.coalitions(m))
        return _Game(row, playing, self._design(m, full, seed(columns, row, self._chance) % DESIGNS))

    def _play(self, games: Sequence[_Game], columns: Columns, scores: Numbers, values: Numbers) -> None:
        """Ask about all coalitions of some games, in as few calls as their size allows, and solve each."""
        counts = [len(game.design.members) for game in games]
        worth = self._worth(games, columns, sum(counts), scores.shape[1])
        for game, asked in zip(games, np.split(worth, np.cumsum(counts)[:-1]), strict=True):
            if game.playing:
                values[game.row, list(game.playing)] = kernel.attributions(
                    game.design, asked, self.expected, scores[game.row]
                )

    def _worth(self, games: Sequence[_Game], columns: Columns, coalitions: int, outputs: int) -> Numbers:
        """The value of each coalition: the mean score over the baseline rows."""
        if not coalitions:
            return np.zeros((0, outputs))
        members = np.vstack([self._spread(game) for game in games])
        owner = np.repeat([game.row for game in games], [len(game.design.members) for game in games])
        step = max(1, AT_ONCE // self._rows)
        parts = []
        for start in range(0, coalitions, step):
            some = slice(start, start + step)
            asked = self._mixed(members[some], owner[some], columns)
            mean = self._score(asked).reshape(len(members[some]), self._rows, outputs).mean(axis=1)
            parts.append(mean)
        return np.concatenate(parts)

    def _spread(self, game: _Game) -> npt.NDArray[np.bool_]:
        """A game's coalitions with one column for every input."""
        spread = np.zeros((len(game.design.members), len(self._names)), dtype=bool)
        spread[:, list(game.playing)] = game.design.members
        return spread

    def _mixed(
        self, members: npt.NDArray[np.bool_], owner: npt.NDArray[np.int64], columns: Columns
    ) -> Columns:
        """Model rows: for each coalition all rows of the baseline, with its inputs taken from its own row."""
        mixed: dict[str, npt.NDArray[Any]] = {}
        for place, name in enumerate(self._names):
            column = np.tile(self._background[name], len(members))
            taken = np.repeat(members[:, place], self._rows)
            column[taken] = np.repeat(columns[name][owner, 0], self._rows)[taken]
            mixed[name] = column.reshape(-1, 1)
        return mixed
