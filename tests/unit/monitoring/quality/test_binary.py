"""Two classes: golden values, scikit-learn on random rows, and rows that say little."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from monitoring.quality import binary, confusion, ranking
from monitoring.quality.metric import Measured, Z

CLASSES = ("0", "1")


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def measured(truth, predicted=None, scores=None, *, constant=None) -> Measured:
    truth = np.array(truth)
    if scores is not None:
        scores = np.array(scores, dtype=float)
    predicted = binary.decide(scores) if predicted is None else np.array(predicted)
    ranked = None if scores is None else ranking.ranked(scores, truth)
    return binary.measure(
        confusion.cells(truth, predicted, 2), ranked, CLASSES, rng(), constant_class=constant
    )


def test_golden_decisions() -> None:
    found = measured([0, 0, 0, 1], [0, 1, 1, 1], constant="1")
    assert found.shapes["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}
    expected = {
        "recall": 1.0,
        "precision": 0.3333333333333333,
        "accuracy": 0.5,
        "true_positive_rate": 1.0,
        "true_negative_rate": 0.3333333333333333,
        "false_positive_rate": 0.6666666666666666,
        "false_negative_rate": 0.0,
        "f0_5": 0.38461538461538464,
        "f1": 0.5,
        "f2": 0.7142857142857143,
        "recall_best_constant_classifier": 1.0,
        "precision_best_constant_classifier": 0.25,
        "accuracy_best_constant_classifier": 0.25,
        "f0_5_best_constant_classifier": 0.29411764705882354,
        "f1_best_constant_classifier": 0.4,
        "f2_best_constant_classifier": 0.625,
    }
    assert {name: found.scalars[name].value for name in expected} == pytest.approx(expected, abs=1e-12)


def test_golden_scores() -> None:
    found = measured([0, 0, 1, 1], scores=[0.1, 0.4, 0.35, 0.8])
    assert found.scalars["auc"].value == pytest.approx(0.75, abs=1e-12)
    curve = found.shapes["receiver_operating_characteristic_curve"]
    assert curve == {
        "false_positive_rates": [0, 0, 0.5, 0.5, 1],
        "true_positive_rates": [0, 0.5, 0.5, 1, 1],
    }
    extra = {name: metric.value for name, metric in found.extra.items()}
    assert extra == pytest.approx(
        {"average_precision": 0.8333333333333333, "brier": 0.158125, "log_loss": 0.47228795380917615},
        abs=1e-12,
    )


@pytest.mark.parametrize(("score", "said"), [(0.5, 0), (math.nextafter(0.5, 1), 1), (0.49, 0)])
def test_only_above_the_threshold_is_positive(score: float, said: int) -> None:
    assert binary.decide(np.array([score])).tolist() == [said]


def test_best_constant_class_is_the_majority_and_published() -> None:
    found = measured([0, 0, 0, 1], [0, 1, 1, 1])
    assert found.shapes["best_constant_class"] == "0"
    assert found.scalars["accuracy_best_constant_classifier"].value == 0.75
    assert found.scalars["recall_best_constant_classifier"].value == 0.0
    assert found.scalars["precision_best_constant_classifier"].record()["value"] == "NaN"


@pytest.mark.parametrize(("rows", "known"), [(199, False), (200, True)])
def test_standard_deviation_from_200_rows_on(rows: int, known: bool) -> None:
    draw = rng()
    truth, scores = draw.integers(0, 2, rows), draw.random(rows)
    found = measured(truth, scores=scores)
    for name in ("recall", "accuracy", "auc", "f1"):
        assert isinstance(found.scalars[name].record()["standard_deviation"], float) is known, name


def test_same_seed_same_numbers() -> None:
    draw = rng()
    truth, scores = draw.integers(0, 2, 300), draw.random(300)
    assert measured(truth, scores=scores) == measured(truth, scores=scores)


def test_standard_deviation_is_about_half_of_the_standard_error() -> None:
    table = np.array([[5000, 1000], [1000, 3000]])
    spreads = [
        binary.measure(table, None, CLASSES, np.random.default_rng(seed))
        .scalars["accuracy"]
        .standard_deviation
        for seed in range(30)
    ]
    error = math.sqrt(0.8 * 0.2 / 10_000)
    assert 0.35 * error < np.mean(spreads) < 0.6 * error


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 0.9, 1.0]) | st.floats(0, 1)
        ),
        min_size=2,
        max_size=60,
    )
)
def test_agrees_with_scikit_learn(rows) -> None:
    truth, scores = (np.array(column) for column in zip(*rows, strict=True))
    said = binary.decide(scores)
    found = measured(truth, scores=scores)
    value = {name: metric.value for name, metric in {**found.scalars, **found.extra}.items()}
    assert value["accuracy"] == pytest.approx(reference.accuracy_score(truth, said), abs=1e-12)
    if truth.any():
        assert value["recall"] == pytest.approx(reference.recall_score(truth, said), abs=1e-12)
        for name, beta in confusion.BETAS.items():
            wanted = reference.fbeta_score(truth, said, beta=beta, zero_division=0)
            assert value[name] == pytest.approx(wanted, abs=1e-12)
        wanted = reference.average_precision_score(truth, scores)
        assert value["average_precision"] == pytest.approx(wanted, abs=1e-12)
    if truth.any() and not truth.all():
        assert value["auc"] == pytest.approx(reference.roc_auc_score(truth, scores), abs=1e-12)
        false, true, _ = reference.roc_curve(truth, scores, drop_intermediate=False)
        curve = found.shapes["receiver_operating_characteristic_curve"]
        assert curve["false_positive_rates"] == pytest.approx(false, abs=1e-12)
        assert curve["true_positive_rates"] == pytest.approx(true, abs=1e-12)
        precision, recall, _ = reference.precision_recall_curve(truth, scores)
        curve = found.shapes["precision_recall_curve"]
        assert curve["precisions"] == pytest.approx(precision, abs=1e-12)
        assert curve["recalls"] == pytest.approx(recall, abs=1e-12)
    assert value["brier"] == pytest.approx(np.mean((truth - scores) ** 2), abs=1e-12)


@given(st.lists(st.integers(0, 400), min_size=4, max_size=4))
def test_intervals_hold_their_value(cells) -> None:
    found = binary.measure(np.array(cells).reshape(2, 2), None, CLASSES, rng())
    for name, metric in found.scalars.items():
        if metric.low is not None:
            assert 0 <= metric.low <= metric.value + 1e-9, name
            assert metric.value - 1e-9 <= metric.high <= 1, name


def test_intervals_cover_the_truth() -> None:
    draw = np.random.default_rng(3)
    shares = np.array([0.5, 0.1, 0.15, 0.25])
    true = {"accuracy": 0.75, "recall": 0.625, "precision": 0.25 / 0.35, "f1": 2 * 0.25 / (0.5 + 0.25)}
    held = dict.fromkeys(true, 0)
    for seed in range(60):
        table = draw.multinomial(400, shares).reshape(2, 2)
        found = binary.measure(table, None, CLASSES, np.random.default_rng(seed)).scalars
        for name, value in true.items():
            held[name] += found[name].low <= value <= found[name].high
    assert min(held.values()) >= 51, held


@pytest.mark.parametrize(
    ("truth", "scores"),
    [([], []), ([1, 1, 1], [0.2, 0.7, 0.9]), ([0, 0], [0.2, 0.7]), ([0, 1], [0.5, 0.5])],
    ids=["empty", "only positive", "only negative", "constant scores"],
)
def test_little_data_is_no_crash(truth, scores) -> None:
    found = measured(np.array(truth, dtype=int), scores=scores)
    document = found.document()["binary_classification_metrics"]
    if len(set(truth)) < 2:
        assert document["auc"]["value"] == "NaN"
        assert document["receiver_operating_characteristic_curve"]["false_positive_rates"] == []
    else:
        assert document["auc"]["value"] == 0.5
    assert found.rows == len(truth)


def test_long_curves_are_thinned() -> None:
    draw = rng()
    truth = draw.integers(0, 2, 20_000)
    found = measured(truth, scores=draw.random(20_000) + truth * 0.2)
    curve = found.shapes["receiver_operating_characteristic_curve"]
    x, y = curve["false_positive_rates"], curve["true_positive_rates"]
    assert len(x) == len(y) <= ranking.POINTS + 2
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(found.scalars["auc"].value, abs=2e-3)


def test_the_golden_interval_of_a_mean():
    """Wald at z = 1.96 and n, from ours at n - 1: errors of 950 rows are 1, of 50 rows 0."""
    rows = ranking.Ranked(np.array([1.0]), np.array([50]), np.array([950]))
    brier = binary.losses(rows)["brier"]
    assert brier.value == 0.95
    wald = 0.95 - (0.95 - brier.low) / Z * 1.96 * math.sqrt(999 / 1000)
    assert wald == pytest.approx(0.9364916322229515, abs=1e-12)
