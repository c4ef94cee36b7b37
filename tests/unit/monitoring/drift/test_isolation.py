"""Strange rows: an exact test of how many there are, and which they were."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom

from monitoring.drift import excess, forest, isolation
from monitoring.drift.analysis import DataQuality
from monitoring.findings import Finding
from monitoring.rows import EVENT_ID, ROW

RNG = np.random.default_rng(11)


NAMES = [f"n{i}" for i in range(5)]


def rows(count, strange=0):
    """Five columns; in strange rows each has a value that it has now and then, but never all at once."""
    values = RNG.normal(size=(count, 5))
    values[:strange] = 2.2
    return pl.DataFrame(
        {
            **dict(zip(NAMES, values.T, strict=True)),
            EVENT_ID: [f"e{i}" for i in range(count)],
            ROW: pl.Series([0] * count),
        }
    )


GROWN = forest.fit(rows(2000), NAMES, seed=7, trees=25)


@pytest.mark.parametrize(
    ("strange", "count", "above", "calibration"), [(3, 20, 2, 30), (1, 5, 0, 4), (9, 9, 1, 9)]
)
def test_the_tail_is_the_beta_binomial_laws(strange, count, above, calibration):
    expected = betabinom.sf(strange - 1, count, above + 1, calibration - above)
    found = excess.so_many(strange, count, above, calibration)
    assert found == pytest.approx(expected, rel=1e-9)
    assert excess.so_many(0, count, above, calibration) == 1


def test_the_law_is_that_of_order_statistics():
    """Of 40 calibration rows 2 exceed the limit: how often do 3 or more of 30 new rows exceed it?"""
    rng = np.random.default_rng(1)
    limit = np.sort(rng.random((4000, 40)), axis=1)[:, -3]
    more = (rng.random((4000, 30)) > limit[:, None]).sum(axis=1) >= 3
    assert more.mean() == pytest.approx(excess.so_many(3, 30, 2, 40), abs=0.03)


def test_rows_that_are_strange_only_together_are_found():
    found = isolation.judge(GROWN, rows(400, strange=40), 0.025)
    assert found.violated
    assert (found.rows, found.expected) == (400, 0.01)
    assert found.strange > 12
    assert {one.event_id for one in found.examples[:5]} <= {f"e{i}" for i in range(40)}
    said = isolation.told(Finding("DataQuality", 400, details=DataQuality()), found)
    assert said.details.rows is found
    assert (said.figures[0].name, said.figures[0].n) == ("row_outliers", 400)
    (violation,) = said.violations
    assert violation.record()["constraint_check_type"] == "row_outliers_check"
    assert violation.record()["feature_name"] == "@rows"
    assert "exceeds threshold: 0.02" in violation.description


def test_usual_rows_are_not():
    found = isolation.judge(GROWN, rows(400), 0.025)
    assert not found.violated
    assert isolation.judge(GROWN, rows(0), 0.025) is None
    assert isolation.told(Finding("DataQuality", 400, details=DataQuality()), found).violations == ()


def test_the_examples_do_without_names():
    found = isolation.judge(GROWN, rows(50, strange=20).select(NAMES), 0.5)
    assert found.examples[0].event_id == ""
    assert 0 <= found.examples[0].row < 20
