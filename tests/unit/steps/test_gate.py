from __future__ import annotations

import pytest

from configs.build import Threshold
from steps import gate
from steps.errors import EvaluationRefused


def entry(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def report(*, champion: bool = True) -> dict:
    small = [{"value": "LGA", "rows": 9, "small": True, "metrics": {"roc_auc": entry(0.7), "log_loss": None}}]
    return {
        "metrics": {"roc_auc": entry(0.9), "log_loss": entry(0.3)},
        "slices": {"origin": small},
        "champion": {
            "name": "4",
            "difference": {"roc_auc": entry(-0.02), "log_loss": entry(0.02)},
            "slices": {"origin": [{**small[0], "metrics": {"roc_auc": entry(0.1), "log_loss": None}}]},
        }
        if champion
        else None,
    }


@pytest.mark.parametrize(
    ("threshold", "passed", "sentence"),
    [
        ({"min": 0.9}, True, "roc_auc is 0.9000 (0.8900 to 0.9100), at least 0.9"),
        ({"min": 0.91}, False, "roc_auc is 0.9000 (0.8900 to 0.9100), below the limit 0.91"),
        ({"max": 0.8}, False, "roc_auc is 0.9000 (0.8900 to 0.9100), above the limit 0.8"),
        ({"metric": "log_loss", "max": 0.4}, True, "log_loss is 0.3000 (0.2900 to 0.3100), at most 0.4"),
        ({"min": 0.8, "slice": "origin=LGA"}, False, "roc_auc for origin=LGA is 0.7000 (0.6900 to 0.7100), below the limit 0.8"),
        ({"min": 0.8, "slice": "origin=XXX"}, False, "roc_auc for origin=XXX cannot be computed: too few rows or only one class"),
        ({"not_worse_than": "champion", "margin": 0.03}, True,
         "roc_auc is 0.0200 worse than champion 4 on the same rows (advantage -0.0300 to -0.0100); 0.03 worse is allowed"),
        ({"not_worse_than": "champion", "margin": 0.01}, False,
         "roc_auc is 0.0200 worse than champion 4 on the same rows (advantage -0.0300 to -0.0100); 0.01 worse is allowed"),
        ({"metric": "log_loss", "not_worse_than": "champion"}, False,
         "log_loss is 0.0200 worse than champion 4 on the same rows (advantage -0.0300 to -0.0100); 0 worse is allowed"),
        ({"not_worse_than": "champion", "slice": "origin=LGA"}, True,
         "roc_auc for origin=LGA is 0.1000 better than champion 4 on the same rows (advantage +0.0900 to +0.1100); 0 worse is allowed"),
        ({"metric": "log_loss", "not_worse_than": "champion", "slice": "origin=LGA"}, False,
         "log_loss for origin=LGA cannot be compared with the champion: too few rows or only one class"),
    ],
)  # fmt: skip
def test_verdicts_in_words(threshold, passed, sentence) -> None:
    (result,) = gate.decide([Threshold(**{"metric": "roc_auc", **threshold})], report())
    assert (result.passed, result.sentence) == (passed, sentence)


def test_without_a_champion_the_comparison_passes() -> None:
    results = gate.decide([Threshold(metric="roc_auc", not_worse_than="champion")], report(champion=False))
    assert gate.passed(results)
    assert results[0].sentence == "roc_auc has no champion to compare with yet"


def test_every_condition_of_a_threshold_counts() -> None:
    results = gate.decide(
        [Threshold(metric="roc_auc", min=0.8, max=0.85, not_worse_than="champion")], report()
    )
    assert [result.passed for result in results] == [True, False, False]
    assert not gate.passed(results)


@pytest.mark.parametrize(
    ("threshold", "says"),
    [
        ({"metric": "roc_uac", "min": 0.5}, r"gate\[0\].metric: there is no 'roc_uac' for a binary task; did you mean roc_auc\? known are roc_auc, "),
        ({"metric": "rmse", "max": 1.0}, "known are roc_auc"),
        ({"metric": "f1", "min": 0.5, "slice": "dest=MIA"}, r"gate\[0\].slice: 'dest=MIA' must be column=value"),
        ({"metric": "f1", "min": 0.5, "slice": "MIA"}, "must be column=value"),
    ],
)  # fmt: skip
def test_gates_that_cannot_be_decided_are_refused_early(project, threshold, says) -> None:
    with pytest.raises(EvaluationRefused, match=says):
        gate.check(project(gate=[threshold], evaluate__slices=["c"]))
