import math

import numpy as np
import pytest
from scipy.stats import norm

from monitoring.drift import history

QUIET = (10 + np.random.default_rng(2).permutation(norm.ppf((np.arange(60) + 0.5) / 60))).tolist()


def places(found):
    return [one.place for one in found]


def test_a_spike():
    series = [*QUIET[:30], 25.0, *QUIET[30:]]
    found = history.online_normal(series, 4)
    assert places(found) == [30]
    assert found[0].low < 10 < found[0].high < 25
    assert found[0].high == pytest.approx(
        np.mean(QUIET[:30]) + 4 * np.std(QUIET[:30], ddof=1) * (31 / 30) ** 0.5
    )


def test_an_anomaly_teaches_nothing_unless_kept():
    series = [*QUIET[:20], 40.0, 16.0]
    assert places(history.online_normal(series, 4)) == [20, 21]
    assert places(history.online_normal(series, 4, keep=True)) == [20]


def test_a_small_shift_that_lasts():
    shifted = [*QUIET[:30], *(value + 1.2 for value in QUIET[30:])]
    assert history.online_normal(QUIET, 4) == ()
    assert 30 <= places(history.page_hinkley(shifted, learn=20))[0] < 45
    assert history.page_hinkley(QUIET, learn=20) == ()


def test_a_fall_is_found_as_a_rise_is():
    falling = [-value for value in [*QUIET[:30], *(value + 3 for value in QUIET[30:])]]
    assert places(history.page_hinkley(falling, learn=20))[0] < 35


def test_gaps_and_short_histories():
    holey = [None, *QUIET[:20], math.nan, 99.0, None]
    assert places(history.online_normal(holey)) == [22]
    for rule in (history.online_normal, history.page_hinkley):
        assert rule([]) == rule([1.0]) == rule([None] * 20) == rule([1.0] * 20) == ()


def test_any_change_of_a_constant():
    assert places(history.online_normal([1.0] * 12 + [2.0])) == [12]
    assert places(history.page_hinkley([1.0] * 12 + [2.0])) == [12]


def test_the_newest_figure_is_held_against_its_past():
    assert history.newest([*QUIET[:20], 16.0]).place == 20
    assert history.newest([*QUIET[:20], 16.0, 10.1]) is None
    assert history.newest([*QUIET[:20], None]) is None
    assert history.newest([*QUIET[:9], 99.0]) is None
    assert history.newest([1.0] * 20 + [1.001]) is None
    assert history.newest([]) is None


def test_many_series_at_once_share_the_level():
    pages = np.random.default_rng(8).normal(size=(60, 5, 14)).tolist()
    shown = [any(history.newest(one, tests=5, level=0.2) for one in page) for page in pages]
    assert 0.02 < np.mean(shown) <= 0.2 + 3 * (0.16 / 60) ** 0.5


def test_golden_deviations():
    """The sample deviation of the specification, and NannyML's threshold, which is of the population."""
    fibonacci = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    (found,) = history.online_normal([*fibonacci, 1e6], 1.0)
    assert (found.high - 8.8) / math.sqrt(1.1) == pytest.approx(11.033282980751165, rel=1e-12)
    (found,) = history.online_normal([*range(10), 1e6])
    to_sample_and_new_figure = math.sqrt(10 / 9 * 1.1)
    for ours, theirs in ((found.low, -4.116843969807043), (found.high, 13.116843969807043)):
        assert (ours - 4.5) / to_sample_and_new_figure == pytest.approx(theirs - 4.5, rel=1e-12)
