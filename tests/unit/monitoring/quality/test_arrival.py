"""Delays of labels: the textbook estimator, and rows that still wait."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.arrival import arrival


def found(delays, waiting):
    return arrival(np.array(delays, dtype=float), np.array(waiting, dtype=float))


def test_textbook() -> None:
    # Freireich et al. (1963), 6-MP group: remission times in weeks, + still in remission
    seen = found([6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35])
    left = {point.seconds: 1 - point.arrived for point in seen.points}
    expected = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
    assert left == pytest.approx(expected, abs=5e-5)
    assert seen.median == 23
    assert seen.p90 is None
    assert seen.outstanding == 12 / 21
    assert seen.never == pytest.approx(0.4482, abs=5e-5)


def test_without_waiting_rows_it_is_the_plain_distribution() -> None:
    seen = found([1, 2, 3, 4], [])
    assert [point.arrived for point in seen.points] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert (seen.median, seen.outstanding, seen.never) == (2, 0, 0)
    assert seen.by(2.5) == pytest.approx(0.5)
    assert seen.by(0.5) == 0


def test_young_rows_do_not_make_labels_look_rare_or_fast() -> None:
    draw = np.random.default_rng(0)
    delay, age = draw.exponential(100, 20_000), draw.uniform(0, 200, 20_000)
    come = delay <= age
    seen = arrival(delay[come], age[~come])
    assert seen.median == pytest.approx(100 * np.log(2), rel=0.05)
    assert np.median(delay[come]) < 50
    assert seen.expected == pytest.approx(np.mean(delay[~come] <= 200), abs=0.02)
    assert len(seen.points) <= 202
    assert all(point.low <= point.arrived <= point.high for point in seen.points)


def test_nothing_arrived_and_nothing_at_all() -> None:
    seen = found([], [5, 6])
    assert (seen.points, seen.median, seen.outstanding, seen.never, seen.expected) == (
        (),
        None,
        1.0,
        1.0,
        0.0,
    )
    assert found([], []) is None


def test_clocks_that_differ() -> None:
    assert found([-3, 2], []).points[0].seconds == 0
