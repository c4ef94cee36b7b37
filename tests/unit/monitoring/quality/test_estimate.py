"""Quality without labels: golden values, agreement with what labels say later, files without code."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from threadpoolctl import threadpool_limits

from monitoring.quality import calibration, estimate, expected, trees

NAMES = ("accuracy", "precision", "recall", "specificity", "f1")


def scored(rows: int, seed: int, *, power: float = 1.0, shift: float = 0.0) -> pl.DataFrame:
    """Rows whose true probability is known; the score is a power of it."""
    draw = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-draw.normal(shift, 1.5, rows)))
    scores = chance**power
    return pl.DataFrame(
        {
            "@score": scores,
            "@predicted_label": np.where(scores > 0.5, "1", "0"),
            "@label": (draw.random(rows) < chance).astype(int).astype(str),
        }
    )


def numbers(rows: int, seed: int, *, scale: float = 1.0) -> pl.DataFrame:
    """A regression whose error grows with x and with the kind."""
    draw = np.random.default_rng(seed)
    x, kind = draw.uniform(0, 2 * scale, rows), draw.choice(["a", "b"], rows)
    off = draw.normal(size=rows) * np.where(kind == "a", 0.5, 1.5) * (0.5 + x)
    return pl.DataFrame({"x": x, "kind": kind, "@predicted_label": 3 * x, "@label": 3 * x + off})


def again(estimator: estimate.Estimator) -> estimate.Estimator:
    return estimate.read(json.loads(json.dumps(estimator.record(), allow_nan=False)))


def test_golden_cbpe() -> None:
    found = expected.binary(np.array([0.9, 0.6, 0.3, 0.2]), np.array([1, 1, 0, 0]), seed=0)
    value = {name: one.value for name, one in found.items()}
    golden = {**dict.fromkeys(NAMES, 0.75), "roc_auc": 0.8, "average_precision": 0.77}
    assert value == pytest.approx(golden, abs=1e-12)
    assert all(one.low <= one.value <= one.high for one in found.values())


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.5, 0.9]) | st.floats(0.01, 0.99), st.integers(0, 1)), min_size=2
    )
)
def test_cbpe_is_every_outcome_weighed_by_its_probability(rows) -> None:
    shares, said = (np.array(column) for column in zip(*rows, strict=True))
    found = expected.binary(shares, said, seed=0)
    truth = np.r_[np.ones(len(rows)), np.zeros(len(rows))]
    weights = np.r_[shares, 1 - shares]
    options = {"sample_weight": weights}
    both, scores = np.r_[said, said], np.r_[shares, shares]
    assert found["accuracy"].value == pytest.approx(reference.accuracy_score(truth, both, **options))
    assert found["recall"].value == pytest.approx(reference.recall_score(truth, both, **options))
    assert found["f1"].value == pytest.approx(reference.f1_score(truth, both, **options))
    assert found["roc_auc"].value == pytest.approx(reference.roc_auc_score(truth, scores, **options))
    wanted = reference.average_precision_score(truth, scores, **options)
    assert found["average_precision"].value == pytest.approx(wanted)


def test_cbpe_foresees_what_labels_say() -> None:
    estimator, notes = estimate.learn(scored(20_000, 1, power=2.0), "binary", ("0", "1"), seed=0)
    assert not notes
    assert estimator.calibrations[0].scores
    live = scored(20_000, 2, power=2.0, shift=-0.7)
    found, _ = estimate.estimate(live.drop("@label"), again(estimator), seed=0)
    truth, scores = live["@label"].cast(pl.Int64), live["@score"]
    said = (scores > 0.5).cast(pl.Int64)
    real = {
        "accuracy": reference.accuracy_score(truth, said),
        "precision": reference.precision_score(truth, said),
        "recall": reference.recall_score(truth, said),
        "f1": reference.f1_score(truth, said),
        "roc_auc": reference.roc_auc_score(truth, scores),
        "average_precision": reference.average_precision_score(truth, scores),
    }
    for name, value in real.items():
        assert found[name].low <= value <= found[name].high, name
        assert found[name].high - found[name].low < 0.15, name


def test_the_band_is_as_wide_as_chance() -> None:
    values = [
        reference.f1_score(rows["@label"].cast(pl.Int64), (rows["@score"] > 0.5).cast(pl.Int64))
        for rows in (scored(1000, seed) for seed in range(60))
    ]
    known = scored(1000, 99)
    found = expected.binary(known["@score"].to_numpy(), (known["@score"] > 0.5).to_numpy(), seed=1)
    assert found["f1"].standard_error == pytest.approx(np.std(values), rel=0.35)


def test_multiclass_cbpe() -> None:
    draw = np.random.default_rng(4)
    chance = draw.dirichlet([1, 1, 1], 8000)
    label = (draw.random((8000, 1)) > chance.cumsum(1)).sum(1)
    rows = pl.DataFrame(
        {"@score": chance.tolist(), "@label": [("a", "b", "c")[one] for one in label]},
        schema_overrides={"@score": pl.List(pl.Float64)},
    )
    estimator, _ = estimate.learn(rows[:4000], "multiclass", ("a", "b", "c"), seed=0)
    found, _ = estimate.estimate(rows[4000:].drop("@label"), again(estimator), seed=0)
    said = chance[4000:].argmax(1)
    assert found["accuracy"].low <= (said == label[4000:]).mean() <= found["accuracy"].high
    wanted = reference.f1_score(label[4000:], said, average="weighted")
    assert found["weighted_f1"].low <= wanted <= found["weighted_f1"].high


def test_calibration_only_where_it_helps() -> None:
    draw = np.random.default_rng(5)
    chance = draw.random(20_000)
    truth = (draw.random(20_000) < chance).astype(int)
    crooked = calibration.calibrate(chance**3, truth, seed=0)
    assert crooked.scores
    assert calibration.error(crooked(chance**3), truth) < 0.02 < calibration.error(chance**3, truth)
    assert calibration.calibrate(np.full(500, 0.5), np.arange(500) % 2, seed=0).scores == ()
    assert calibration.calibrate(chance[:50], truth[:50], seed=0) == calibration.Calibration()
    assert calibration.Calibration()(np.array([-3.0, 0.4, 7.0])).tolist() == [0.0, 0.4, 1.0]


def test_dle_foresees_what_labels_say() -> None:
    estimator, _ = estimate.learn(numbers(6000, 1), "regression", None, seed=0)
    live = numbers(6000, 2, scale=0.5)
    found, notes = estimate.estimate(live.drop("@label"), again(estimator), seed=0)
    off = (live["@predicted_label"] - live["@label"]).to_numpy()
    assert not notes
    assert found["mae"].value == pytest.approx(np.abs(off).mean(), rel=0.08)
    assert found["rmse"].value == pytest.approx(np.sqrt((off**2).mean()), rel=0.08)
    same = numbers(6000, 3)
    found, _ = estimate.estimate(same, estimator, seed=0)
    real = np.abs((same["@predicted_label"] - same["@label"]).to_numpy()).mean()
    assert found["mae"].low <= real <= found["mae"].high


def test_dle_on_strange_inputs() -> None:
    estimator, _ = estimate.learn(numbers(500, 1), "regression", None, seed=0)
    strange = pl.DataFrame({"x": ["1.5", None, "?"], "@predicted_label": [1.0, 2.0, None]})
    found, notes = estimate.estimate(strange, estimator, seed=0)
    assert np.isfinite(found["mae"].value)
    assert "kind" in notes[0]
    assert estimate.estimate(pl.DataFrame(), estimator, seed=0)[0] == {}


def test_trees_are_scikit_learn_s() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    draw = np.random.default_rng(6)
    matrix = draw.normal(size=(3000, 4))
    matrix[draw.random(matrix.shape) < 0.1] = np.nan
    target = np.nan_to_num(matrix[:, 0]) ** 2 + np.isnan(matrix[:, 1]) + draw.normal(size=3000) / 5
    grown = trees.grow(matrix, target, seed=3)
    theirs = HistGradientBoostingRegressor(
        max_iter=trees.ROUNDS,
        max_leaf_nodes=trees.LEAVES,
        min_samples_leaf=50,
        early_stopping=False,
        random_state=3,
    )
    with threadpool_limits(limits=1):
        wanted = theirs.fit(matrix, target).predict(matrix)
    record = json.loads(json.dumps(grown.record(), allow_nan=False))
    assert np.abs(trees.read(record, 4)(matrix) - wanted).max() < 1e-12
    assert trees.grow(matrix, target, seed=3) == grown
    with pytest.raises(ValueError, match="outside themselves"):
        trees.read(record, 2)


@pytest.mark.parametrize("record", [{}, {"task": "regression", "rows": 3, "losses": {"columns": 3}}])
def test_a_broken_file_is_refused(record) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        estimate.read(record)


@pytest.mark.parametrize(
    ("rows", "task", "told"),
    [
        (scored(50, 1), "binary", "Only 50 reference rows"),
        (scored(500, 1).drop("@score"), "binary", "no scores"),
        (numbers(20, 1), "regression", "Only 20 reference rows"),
        (pl.DataFrame(), "regression", "Only 0 reference rows"),
    ],
)
def test_too_little_to_learn_from(rows, task, told) -> None:
    estimator, notes = estimate.learn(rows, task, None, seed=0)
    assert estimator is None
    assert told in notes[0]


def test_nothing_to_estimate() -> None:
    estimator, _ = estimate.learn(scored(1000, 1), "binary", ("0", "1"), seed=0)
    assert estimate.estimate(pl.DataFrame({"@label": ["1"]}), estimator, seed=0)[0] == {}
    assert estimate.estimate(scored(3, 1)[:0], estimator, seed=0)[0] == {}
    assert expected.binary(np.array([]), np.array([]), seed=0) == {}
    assert expected.multiclass(np.empty((0, 3)), np.array([], dtype=int), seed=0) == {}
