"""A row against a baseline as a game: columns of a coalition come from the row, the others from the baseline.

The value of a coalition is the model's score, averaged over the rows of the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.codecs import Columns
from serving.explain.kernel import Members, Numbers
from serving.explain.settings import Player

Score = Callable[[Columns], Numbers]
"""What is attributed, by row and output."""

CHUNK = 4096
"""Model rows per call: enough to be quick, few enough to look at the clock between calls."""
NEVER = 1e-7
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""


class Game:
    """One row. Players whose columns equal the baseline's in every row of it play no part."""

    def __init__(
        self, score: Score, players: Sequence[Player], baseline: Columns, columns: Columns, row: int
    ) -> None:
        self._score = score
        self._baseline = baseline
        self._row = {name: values[row] for name, values in columns.items()}
        self.playing = tuple(
            place for place, player in enumerate(players) if any(map(self._differs, player.columns))
        )
        """Positions of the players that make a difference at all."""
        self._place = {
            column: place
            for place, player in enumerate(self.playing)
            for column in players[player].columns
            if self._differs(column)
        }
        self.background = len(next(iter(baseline.values())))
        """Rows of the baseline: model rows per coalition."""

    def values(self, members: Members, watch: Callable[[int], None]) -> Numbers:
        """The value of each coalition, by output.

        `watch` is told the number of model rows after each call of the model; what it raises ends the game.
        """
        step = max(1, CHUNK // self.background)
        parts = []
        for start in range(0, len(members), step):
            some = members[start : start + step]
            scores = self._score(self._mixed(some))
            parts.append(scores.reshape(len(some), self.background, -1).mean(axis=1))
            watch(len(some) * self.background)
        return np.concatenate(parts)

    def _mixed(self, members: Members) -> Columns:
        """Model rows: for each coalition all rows of the baseline, with the coalition's columns replaced."""
        mixed: dict[str, npt.NDArray[Any]] = {}
        for name, values in self._baseline.items():
            column = np.tile(values[:, 0], len(members))
            if name in self._place:
                taken = np.repeat(members[:, self._place[name]], self.background)
                column[taken] = self._row[name][0]
            mixed[name] = column.reshape(-1, 1)
        return mixed

    def _differs(self, column: str) -> bool:
        return not same(self._baseline[column][:, 0], self._row[column][0]).all()


def same(values: npt.NDArray[Any], value: Any) -> npt.NDArray[np.bool_]:
    """Where values equal one; missing equals missing."""
    if values.dtype.kind == "f":
        return np.asarray((values == value) | (np.isnan(values) & np.isnan(value)))
    return np.asarray(values == value, dtype=bool)


def seed(columns: Columns, row: int, more: int) -> int:
    """A number made of a row's values and of `more`, whatever format and batch the row came in."""
    found = blake2b(more.to_bytes(8, "little"), digest_size=8)
    for values in columns.values():
        value = values[row, 0]
        if values.dtype.kind == "f":
            found.update(np.float64(np.nan if np.isnan(value) else value).tobytes())
        else:
            text = str(value).encode(errors="surrogatepass")
            found.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(found.digest(), "little")


def linked(scores: npt.NDArray[np.floating], *, logit: bool) -> Numbers:
    """Scores by row and output, as log-odds when asked for."""
    table = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
    if not logit:
        return table
    clipped = np.clip(table, NEVER, 1 - NEVER)
    odds: Numbers = np.log(clipped) - np.log1p(-clipped)
    return odds
