"""Several classes: golden values, and scikit-learn on random rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from monitoring.quality import confusion, multiclass

GOLDEN = np.array([[1180, 510], [268, 138]])


def values(table, classes, constant=None) -> dict[str, float]:
    found = multiclass.measure(table, classes, np.random.default_rng(1), constant_class=constant)
    return {name: metric.value for name, metric in found.scalars.items()}


def test_golden() -> None:
    found = values(GOLDEN, ("0", "1"), constant="1")
    expected = {
        "accuracy": 0.6288167938931297,
        "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505,
        "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664903,
        "weighted_f2": 0.6384024354394601,
        "accuracy_best_constant_classifier": 0.19370229007633588,
        "weighted_recall_best_constant_classifier": 0.19370229007633588,
        "weighted_precision_best_constant_classifier": 0.03752057718081697,
        "weighted_f0_5_best_constant_classifier": 0.04473443104152012,
        "weighted_f1_best_constant_classifier": 0.06286421244683643,
        "weighted_f2_best_constant_classifier": 0.10570313141262414,
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_golden_majority() -> None:
    found = multiclass.measure(GOLDEN, ("0", "1"), np.random.default_rng(1))
    assert found.shapes["best_constant_class"] == "0"
    value = {name: metric.value for name, metric in found.scalars.items()}
    assert value["accuracy_best_constant_classifier"] == pytest.approx(0.8062977099236641, abs=1e-12)
    assert value["weighted_f1_best_constant_classifier"] == pytest.approx(0.7198326094933927, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=80))
def test_agrees_with_scikit_learn(rows) -> None:
    truth, said = (np.array(column) for column in zip(*rows, strict=True))
    found = values(confusion.cells(truth, said, 4), tuple("abcd"))
    options = {"average": "weighted", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, said), abs=1e-12)
    wanted = reference.precision_score(truth, said, **options)
    assert found["weighted_precision"] == pytest.approx(wanted, abs=1e-12)
    for name, beta in confusion.BETAS.items():
        wanted = reference.fbeta_score(truth, said, beta=beta, **options)
        assert found[f"weighted_{name}"] == pytest.approx(wanted, abs=1e-12)


def test_document() -> None:
    document = multiclass.measure(GOLDEN, ("0", "1"), np.random.default_rng(1)).document()
    assert document["dataset"] == {"item_count": 2096}
    found = document["multiclass_classification_metrics"]
    assert found["confusion_matrix"] == {"0": {"0": 1180, "1": 510}, "1": {"0": 268, "1": 138}}
    assert set(found["weighted_f1"]) == {"value", "standard_deviation", "low", "high"}


def test_without_rows() -> None:
    found = multiclass.measure(np.zeros((3, 3), np.int64), tuple("abc"), np.random.default_rng(1))
    assert {metric.record()["value"] for metric in found.scalars.values()} == {"NaN"}
