import numpy as np
import polars as pl
import pytest

from monitoring.drift import distribution, outliers
from monitoring.profiles import scan

VECTOR = [10, 12, 11, 13, 12, 11, 10, 95]


def test_golden_vector():
    values = distribution.of(VECTOR)
    assert values.quantile((0.25, 0.75)).tolist() == [10.75, 12.25]
    assert outliers.tukey(values) == (8.5, 14.5)
    median, deviation = outliers.median_deviation(values)
    assert outliers.SCALE * (95 - median) / deviation == pytest.approx(56.32, abs=0.005)
    assert (95 - np.mean(VECTOR)) / np.std(VECTOR) == pytest.approx(2.644, abs=5e-4)  # three sigma miss it


def test_counts_of_a_window():
    rng = np.random.default_rng(3)
    baseline = scan.profile(pl.DataFrame({"x": rng.normal(size=5000), "s": ["a"] * 5000}))
    window = scan.profile(pl.DataFrame({"x": [0.0] * 96 + [-30.0, 30.0, 40.0, 50.0], "s": ["a"] * 100}))
    found = {one.rule: one for one in outliers.outliers(baseline, window)}
    assert set(found) == {"range", "tukey", "robust z"}
    for one in found.values():
        assert (one.below, one.above, one.share) == (1, 3, 0.04)
        assert (one.smallest, one.largest) == (-30.0, 50.0)
    assert found["range"].usual == 0
    assert 0.003 < found["tukey"].usual < 0.012


def test_one_large_value_is_not_lost_in_a_sketch():
    rng = np.random.default_rng(4)
    baseline = scan.profile(pl.DataFrame({"x": rng.normal(size=5000)}))
    window = scan.profile(pl.DataFrame({"x": [*rng.normal(size=99_999), 1e6]}))
    found = {one.rule: one for one in outliers.outliers(baseline, window)}
    assert found["range"].above >= 1
    assert found["range"].largest == 1e6


def test_constant_columns_have_no_robust_bounds():
    assert outliers.robust_bounds(distribution.of([5.0] * 10)) is None
    one = scan.profile(pl.DataFrame({"x": [5.0] * 10}))
    assert outliers.outliers(one, one) == ()
