"""Intervals of shares."""

import pytest

from monitoring.quality.metric import wilson


def test_the_golden_interval():
    low, high = wilson(950, 1000, z=1.96)
    assert low == pytest.approx(0.9346858639155304, abs=1e-12)
    assert low < 0.95 < high
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    assert wilson(0, 0) is None
