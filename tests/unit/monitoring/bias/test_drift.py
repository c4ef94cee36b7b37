from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from monitoring.bias.drift import CHECK, check, distance
from monitoring.bias.report import Measure
from monitoring.bias.settings import BiasConfig, Facet

CONFIG = BiasConfig((1,), (Facet("Sex"),))
POINT = replace(CONFIG, rule="farther")


def measure(
    value: float | None, metric: str = "CDDPL", half: float | None = None, group: str = "0"
) -> Measure:
    ends = (None, None) if half is None or value is None else (value - half, value + half)
    return Measure("Sex", group, metric, "Post-Training", value, "", *ends)


def test_the_record_is_sagemaker_s() -> None:
    (violation,), _ = check([measure(0.3748947825295131)], [measure(0.28176563733194276)], CONFIG, "clarify")
    assert violation.check == CHECK
    assert violation.record() == {
        "facet": "Sex",
        "facet_value": "0",
        "metric_name": "CDDPL",
        "constraint_check_type": "bias_drift_check",
        "description": "Metric value 0.3748947825295131 doesn't meet the baseline constraint requirement "
        "0.28176563733194276",
    }
    assert list(violation.record()) == [
        "facet",
        "facet_value",
        "metric_name",
        "constraint_check_type",
        "description",
    ]


@pytest.mark.parametrize(
    ("metric", "before", "now", "clarify", "exact"),
    [
        ("DPL", 0.2, 0.1, False, False),
        ("DPL", 0.2, -0.3, True, True),
        ("DPL", 0.2, -0.2, False, False),
        ("DPL", 0.2, 0.2, False, False),
        ("DI", 1.2, 1.1, False, False),
        ("DI", 1.2, 0.5, True, True),
        ("DI", 1.6, 0.6, False, True),
        ("DI", 0.5, math.inf, True, True),
        ("TE", math.inf, -math.inf, False, False),
        ("TE", 1.0, -math.inf, True, True),
    ],
)
def test_farther_from_neutral(metric, before, now, clarify, exact) -> None:
    for mode, expected in (("clarify", clarify), ("exact", exact)):
        violations, _ = check([measure(now, metric)], [measure(before, metric)], POINT, mode)
        assert bool(violations) is expected


def test_infinity_in_words() -> None:
    (violation,), _ = check([measure(math.inf, "DI")], [measure(1.0, "DI")], POINT, "clarify")
    assert (
        violation.description == "Metric value Infinity doesn't meet the baseline constraint requirement 1.0"
    )


def test_distance_of_impact() -> None:
    assert distance("DI", 0.5, "exact") == pytest.approx(distance("DI", 2.0, "exact"))
    assert distance("DI", 0.5, "clarify") == 0.5


@pytest.mark.parametrize(
    ("before", "now", "violated"),
    [
        (measure(0.1, half=0.05), measure(0.15, half=0.05), False),
        (measure(0.1, half=0.05), measure(0.4, half=0.05), True),
        (measure(0.1, half=0.05), measure(-0.4, half=0.05), True),
        (measure(0.4, half=0.05), measure(0.1, half=0.05), False),
        (measure(0.1), measure(0.3, half=0.05), True),
    ],
)
def test_evidence_asks_for_more_than_chance(before, now, violated) -> None:
    violations, _ = check([now], [before], CONFIG, "exact")
    assert bool(violations) is violated


def test_without_an_interval_there_is_no_evidence() -> None:
    violations, notes = check([measure(0.9)], [measure(0.1)], CONFIG, "exact")
    assert not violations
    assert notes == ("Not compared, for there is no interval: CDDPL of Sex 0.",)


@pytest.mark.parametrize(
    ("value", "half", "violated"),
    [(0.3, 0.05, True), (0.3, 0.25, False), (0.05, None, False), (0.2, None, True), (-0.3, 0.1, True)],
)
def test_allowed_range(value, half, violated) -> None:
    config = replace(CONFIG, allowed={"CDDPL": (-0.1, 0.1)})
    violations, _ = check([measure(value, half=half)], [], config, "exact")
    assert bool(violations) is violated
    if violated:
        assert violations[0].description == f"Metric value {value} doesn't meet the allowed range -0.1 to 0.1"


def test_groups_above_a_threshold_are_the_same_whatever_the_largest_value() -> None:
    before, now = measure(0.1, group="(40.0, 90.0]"), measure(0.3, group="(40.0, 88.5]")
    violations, notes = check([now], [before], POINT, "clarify")
    assert len(violations) == 1
    assert not notes


def test_what_the_baseline_does_not_know() -> None:
    _, notes = check([measure(0.3, group="X")], [measure(0.1)], POINT, "clarify")
    assert notes == ("The baseline has no value to compare with: CDDPL of Sex X.",)


def test_an_unchanged_model_seldom_alarms() -> None:
    """Ten metrics, a thousand days, an honest baseline each: at most 5 % of the days."""
    rng = np.random.default_rng(4)
    names = ("DPL", "CI", "KL", "AD", "RD", "SD", "DAR", "DRR", "CDDL", "CDDPL")
    days = 0
    for _ in range(1000):
        before, now = (
            [
                measure(0.1 + 0.02 * error, name, 1.96 * 0.02)
                for name, error in zip(names, errors, strict=True)
            ]
            for errors in rng.standard_normal((2, len(names)))
        )
        days += bool(check(now, before, CONFIG, "exact")[0])
    assert days <= 50


def test_a_whole_number_is_the_same_group_however_it_is_written() -> None:
    live, before = [measure(0.4)], [measure(0.2, group="0.0")]
    (violation,), notes = check(live, before, POINT, "exact")
    assert (dict(violation.subject)["facet_value"], notes) == ("0", ())
