"""Constraints: SageMaker's file and sentences, and how often an unchanged model alarms."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality import binary, constraints, metric, regression
from monitoring.quality.constraints import Constraint, Constraints
from monitoring.quality.metric import Measured, Metric

SHARES = np.array([0.62, 0.08, 0.1, 0.2])


def window(rows: int, seed: int, shares=SHARES) -> Measured:
    draw = np.random.default_rng(seed)
    return binary.measure(draw.multinomial(rows, shares).reshape(2, 2), None, ("0", "1"), draw)


def test_golden_document() -> None:
    known = Constraints("binary", {"recall": Constraint(0.571, "LessThanThreshold")})
    document = {
        "version": 0.0,
        "binary_classification_constraints": {
            "recall": {
                "threshold": 0.571,
                "comparison_operator": "LessThanThreshold",
                "additional_properties": None,
            }
        },
    }
    assert known.document() == document
    assert constraints.read(document) == known


def test_suggested_threshold_is_the_value_with_its_operator() -> None:
    base = window(1000, 1)
    found = constraints.suggest(base)
    assert found.metrics["accuracy"].threshold == base.scalars["accuracy"].value
    above = {name for name, one in found.metrics.items() if one.operator == "GreaterThanThreshold"}
    assert above == {"false_positive_rate", "false_negative_rate"}
    assert not [name for name in found.metrics if "best_constant" in name]
    assert constraints.read(found.document()) == found
    numbers = regression.measure(np.arange(9.0), np.arange(9.0) ** 1.1, np.random.default_rng(0))
    operators = {name: one.operator[:4] for name, one in constraints.suggest(numbers).metrics.items()}
    assert operators == {"mae": "Grea", "mse": "Grea", "rmse": "Grea", "r2": "Less"}


@pytest.mark.parametrize(
    ("spread", "told"),
    [
        (0.01, "Metric f2 with 0.5 +/- 0.01 was LessThanThreshold '0.625'"),
        (None, "Metric f2 with 0.5 was LessThanThreshold '0.625'"),
    ],
)
def test_golden_violation(spread: float | None, told: str) -> None:
    seen = Measured("binary", 500, {"f2": Metric(0.5, spread)})
    known = Constraints("binary", {"f2": Constraint(0.625, "LessThanThreshold")})
    (violation,) = constraints.check(known, seen, mode="sagemaker").violations
    assert violation.record() == {
        "constraint_check_type": "LessThanThreshold",
        "description": told,
        "metric_name": "f2",
    }


def test_at_the_threshold_is_no_violation() -> None:
    seen = Measured("regression", 9, {"mae": Metric(2.0), "r2": Metric(0.5)})
    known = Constraints(
        "regression",
        {"mae": Constraint(2.0, "GreaterThanThreshold"), "r2": Constraint(0.5, "LessThanThreshold")},
    )
    assert not constraints.check(known, seen, mode="sagemaker").violations


def test_an_unchanged_model_rarely_alarms_and_a_worse_one_does() -> None:
    quiet = loud = bare = 0
    for day in range(50):
        known = constraints.suggest(window(1000, 10_000 + day))
        same, worse = window(800, day), window(800, day, np.array([0.58, 0.12, 0.16, 0.14]))
        quiet += bool(constraints.check(known, same).violations)
        bare += bool(constraints.check(known, same, mode="sagemaker").violations)
        loud += bool(constraints.check(known, worse).violations)
    assert quiet <= 5
    assert loud >= 0.95 * 50
    assert bare > 0.7 * 50


def test_a_difference_within_chance_is_told() -> None:
    known = Constraints("binary", {"accuracy": Constraint(0.83, "LessThanThreshold", 0.8, 0.86)})
    checked = constraints.check(known, window(500, 3))
    assert not checked.violations
    assert "not by more than chance: accuracy" in checked.notes[0]


def test_a_metric_that_is_not_there_is_told() -> None:
    known = Constraints("binary", {"auc": Constraint(0.8, "LessThanThreshold")})
    checked = constraints.check(known, window(500, 3))
    assert not checked.violations
    assert checked.notes == ("Metric auc has a constraint but could not be computed.",)


def test_constraints_of_another_task_compare_nothing() -> None:
    checked = constraints.check(Constraints("regression"), window(500, 3))
    assert not checked.violations
    assert "nothing was compared" in checked.notes[0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "none of"),
        ({"regression_constraints": {"mae": 3}}, "no object"),
        ({"regression_constraints": {"mae": {"threshold": "3"}}}, "no number"),
        ({"regression_constraints": {"mae": {"threshold": 3, "comparison_operator": "<"}}}, "unknown"),
    ],
)
def test_what_cannot_be_understood_is_refused(document, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        constraints.read(document)


def test_statistics_can_be_read_again() -> None:
    seen = window(700, 5)
    again = metric.read(seen.document())
    assert again.scalars["f1"] == seen.scalars["f1"]
    assert again.scalars["auc"] == Metric(None)
    assert again.rows == 700
    theirs = {
        "version": 0.0,
        "dataset": {"item_count": 4},
        "regression_metrics": {"mae": {"value": 0.5, "standard_deviation": "NaN"}},
    }
    assert metric.read(theirs).scalars == {"mae": Metric(0.5)}
    with pytest.raises(ValueError, match="none of"):
        metric.read({"version": 0.0})
