import json

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import IsolationForest

from monitoring.drift import forest

RNG = np.random.default_rng(5)
FRAME = pl.DataFrame(
    {
        "a": RNG.normal(size=600),
        "b": RNG.exponential(size=600),
        "c": RNG.choice(["x", "y", "z"], size=600, p=[0.6, 0.39, 0.01]),
    }
)
GROWN = forest.fit(FRAME, ["a", "b", "c"], seed=7, trees=20)


def test_scores_are_scikit_learns():
    seen = forest.encode(GROWN.columns, FRAME.gather_every(2))
    model = IsolationForest(n_estimators=20, max_samples=forest.SAMPLE, random_state=7).fit(seen)
    matrix = forest.encode(GROWN.columns, FRAME)
    assert forest.score(GROWN, FRAME) == pytest.approx(-model.score_samples(matrix), abs=1e-12)


def test_strange_rows_stand_out():
    strange = pl.DataFrame({"a": [9.0], "b": [40.0], "c": ["never seen"]})
    assert forest.score(GROWN, strange)[0] > GROWN.limit
    unseen = forest.score(GROWN, FRAME.gather_every(2, 1)) > GROWN.limit
    assert (int(unseen.sum()), len(unseen)) == (GROWN.above, GROWN.rows) == (3, 300)


def test_kept_as_plain_numbers():
    again = forest.read(json.loads(json.dumps(forest.document(GROWN))))
    assert forest.document(again) == forest.document(GROWN)
    assert (forest.score(again, FRAME) == forest.score(GROWN, FRAME)).all()
    assert forest.document(forest.fit(FRAME, ["a", "b", "c"], seed=7, trees=20)) == forest.document(GROWN)


def test_broken_arrays_are_refused():
    broken = forest.document(GROWN)
    broken["left"] = broken["roots"]
    with pytest.raises(ValueError, match="no isolation forest"):
        forest.read(broken)


def test_bad_columns_are_missing_ones():
    bad = pl.DataFrame({"a": [None, float("inf"), float("nan")], "b": ["1", "two", None], "d": [1, 2, 3]})
    assert np.isfinite(forest.score(GROWN, bad)).all()
    nested = pl.DataFrame({"a": [[1.0], [2.0], None], "b": [1, 2, 3], "c": [[1], [2], [3]]})
    assert np.isfinite(forest.score(GROWN, nested)).all()
    strange = pl.DataFrame({"a": [1.0], "c": pl.Series([object()], dtype=pl.Object)})
    assert np.isfinite(forest.score(GROWN, strange)).all()
    assert forest.score(GROWN, FRAME.clear()).size == 0


def test_a_baseline_of_two_rows():
    one = forest.fit(FRAME.head(2), ["a", "c"], seed=1, trees=3)
    assert np.isfinite(forest.score(one, FRAME)).all()
    with pytest.raises(ValueError, match="at least two rows"):
        forest.fit(FRAME.clear(), ["a"], seed=1)
