"""Flip test: would rows of the facet get another prediction if they were of the other side?

Nearest neighbours among everybody else answer for them: five, or one when there are not more than nine rows.
How features count: `monitoring.bias.features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.features import Features
from monitoring.bias.settings import BiasConfig, BiasRefused, Mode

if TYPE_CHECKING:
    import polars as pl
    from sklearn.neighbors import KNeighborsClassifier

NEIGHBOURS = 5
RESAMPLES = 50
"""Most of them behind a standard error."""
_FEW = 9
_FEWEST = 10
_SPARE = 10
"""Further neighbours that are known, since a resample leaves some out."""


@dataclass(frozen=True, slots=True)
class Flips:
    """What the test found."""

    value: float
    spread: float | None
    """Standard error over resamples of both sides; None without resamples."""
    asked: int
    """Rows of the facet that were looked at."""
    partly: bool
    """Not all rows were used: there were too many, or features were missing."""
    left_out: tuple[str, ...] = ()
    """Features that did not count."""


def flip_test(
    frame: pl.DataFrame,
    columns: Sequence[str],
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    predicted: NDArray[np.bool_],
    *,
    config: BiasConfig,
    mode: Mode,
    rng: np.random.Generator,
) -> Flips:
    """Share of the facet's rows whose prediction flips, counted by direction.

    In exact mode above 0 means that rows of the facet were refused what their neighbours got, as the
    definition has it; Clarify's code has the opposite sign. Rows without all features are left out.

    Args:
        frame: all rows.
        columns: the features. In clarify mode texts are refused.
        sides: rows of the facet, and of everybody else.
        predicted: positive predictions.
        config: how many rows are used on each side, and how many resamples, `RESAMPLES` at most.
        mode: decides the sign.
        rng: draws samples.

    Raises:
        BiasRefused: a side has no rows, or there are no features.
    """
    from sklearn.neighbors import KNeighborsClassifier

    features = Features.of(frame, columns, mode)
    (asked, questions), (fitted, known) = (
        _sample(frame, features, np.flatnonzero(side), config.flip_rows, rng) for side in sides
    )
    if not len(asked) or not len(fitted):
        raise BiasRefused("Negated Facet set is empty" if len(asked) else "Facet set is empty")
    near = KNeighborsClassifier(n_neighbors=NEIGHBOURS if len(fitted) > _FEW else 1)
    near.fit(known, predicted[fitted])
    said, theirs, n = predicted[asked], near.predict(questions).astype(bool), len(asked)
    value = int((said & ~theirs).sum()) / n - int((~said & theirs).sum()) / n
    spread = _spread(near, questions, predicted[fitted], said, rng, min(config.resamples, RESAMPLES))
    partly = n < int(sides[0].sum()) or len(fitted) < int(sides[1].sum())
    return Flips(value if mode == "clarify" else -value, spread, n, partly, features.left_out)


def _spread(
    near: KNeighborsClassifier,
    questions: NDArray[np.float64],
    answers: NDArray[np.bool_],
    said: NDArray[np.bool_],
    rng: np.random.Generator,
    resamples: int,
) -> float | None:
    """Bootstrap on both sides: how often each row was drawn decides which neighbours are the nearest."""
    if resamples < _FEWEST:
        return None
    wanted = near.n_neighbors
    places = near.kneighbors(questions, min(wanted + _SPARE, len(answers)), return_distance=False)
    favourable, values = answers[places].astype(np.int32), np.empty(resamples)
    for turn in range(resamples):
        drawn = rng.poisson(1.0, len(answers)).astype(np.int32)[places]
        before = np.cumsum(drawn, axis=1) - drawn
        votes = np.clip(wanted - before, 0, drawn)
        theirs = 2 * (votes * favourable).sum(1) > votes.sum(1)
        weights = rng.poisson(1.0, len(said))
        difference = said.astype(np.int32) - theirs
        values[turn] = (weights * difference).sum() / max(1, weights.sum())
    return float(values.std(ddof=1))


def _sample(
    frame: pl.DataFrame, features: Features, rows: NDArray[np.intp], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Some of the rows and their features."""
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    found = features.matrix(frame.select(*features.numbers, *features.texts)[rows])
    whole = np.isfinite(found).all(axis=1)
    return rows[whole], found[whole]
