"""Whether labels are missing at random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from monitoring.quality import missingness


def test_one_hour_is_pearson_s_chi_square() -> None:
    table = np.array([[30, 70], [50, 50], [45, 55]])
    groups = np.repeat([0, 1, 2], 100)
    labelled = np.concatenate([np.arange(100) < row[0] for row in table])
    found = missingness.test(groups, labelled, np.zeros(300), ("a", "b", "c"))
    statistic = chi2_contingency(table, correction=False).statistic
    assert found.statistic == pytest.approx(statistic * 299 / 300, rel=1e-9)
    assert found.degrees == 2
    assert found.spread == pytest.approx(0.2)


def test_younger_hours_do_not_feign_a_difference() -> None:
    draw = np.random.default_rng(1)
    hours = np.repeat([0, 1], 5000)
    groups = (draw.random(10_000) < np.where(hours == 0, 0.8, 0.2)).astype(int)
    labelled = draw.random(10_000) < np.where(hours == 0, 0.9, 0.1)
    assert not missingness.test(groups, labelled, hours, ("0", "1")).selective
    assert missingness.test(groups, labelled, np.zeros(10_000), ("0", "1")).selective


def test_selective_labels_are_found_and_random_ones_are_not() -> None:
    draw = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        scores = draw.random(2000)
        groups, named = missingness.by_quantile(scores)
        alarms += missingness.test(groups, draw.random(2000) < 0.3, np.zeros(2000), named).selective
    assert alarms <= 5
    groups, named = missingness.by_quantile(scores)
    found = missingness.test(groups, draw.random(2000) < 0.2 + 0.4 * scores, np.zeros(2000), named)
    assert found.selective
    assert len(found.groups) == 10


def test_a_certain_but_tiny_difference_is_not_told() -> None:
    groups = np.repeat([0, 1], 500_000)
    labelled = np.arange(1_000_000) % 500_000 < np.where(groups == 0, 250_000, 255_000)
    found = missingness.test(groups, labelled, np.zeros(1_000_000), ("0", "1"))
    assert found.e_value > 1000
    assert not found.selective


@pytest.mark.parametrize(
    ("groups", "labelled"),
    [
        ([0] * 50, [True, False] * 25),
        ([0, 1] * 25, [False] * 50),
        ([0, 1] * 25, [True] * 50),
        ([-1] * 9, [True] * 9),
    ],
    ids=["one group", "no labels", "all labels", "no groups"],
)
def test_nothing_to_compare(groups, labelled) -> None:
    found = missingness.test(np.array(groups), np.array(labelled), np.zeros(len(groups)), ("0", "1"))
    assert found is None


def test_e_value_is_honest() -> None:
    p = (np.arange(200_000) + 0.5) / 200_000
    assert np.mean([missingness.e_value(one) for one in p]) <= 1.0
    assert missingness.e_value(1e-6) > 1000
    assert missingness.e_value(1.0) == 0.5
    assert missingness.e_value(0.0) > 1e200


def test_ranges_of_tied_numbers() -> None:
    codes, named = missingness.by_quantile(np.array([0.0] * 95 + [1.0] * 5 + [np.nan]))
    assert codes[-1] == -1
    assert codes.max() < len(named)
    assert missingness.by_quantile(np.array([np.nan]))[1] == ()
