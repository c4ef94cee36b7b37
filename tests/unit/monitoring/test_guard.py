from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitoring.guard import classes, numbers, weigh


def test_who_is_right_when_only_one_is() -> None:
    labels = np.array(["1", "0", "1", "1", "0"])
    serving = np.array(["1", "1", "0", "1", "0"])
    before = np.array(["1", "0", "1", "0", "0"])
    assert classes(labels, serving, before) == (2, 1)


def test_the_nearer_number_wins_and_what_is_no_number_says_nothing() -> None:
    labels = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    serving = np.array([1.5, 2.1, 3.0, 4.0, np.inf])
    before = np.array([1.1, 2.5, 3.0, 4.0, 5.0])
    assert numbers(labels, serving, before) == (1, 1)


def test_harm_is_called_and_gain_too() -> None:
    assert weigh(40, 10, 500, alpha=0.05).verdict == "worse"
    assert weigh(10, 40, 500, alpha=0.05).verdict == "better"
    assert weigh(25, 25, 500, alpha=0.05).verdict == "undecided"
    assert weigh(40, 10, 50, alpha=0.05, minimum=51).verdict == "undecided"
    assert "better on 40 and worse on 10" in weigh(40, 10, 500, alpha=0.05).sentence


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_sides_mirror_each_other(lost: int, won: int) -> None:
    one, other = (weigh(a, b, lost + won, alpha=0.05) for a, b in ((lost, won), (won, lost)))
    assert one.log_harm == other.log_gain
    assert {one.verdict, other.verdict} in ({"undecided"}, {"worse", "better"})


def test_equal_versions_are_called_worse_in_at_most_alpha_of_the_histories() -> None:
    chance = np.random.default_rng(5)
    called = 0
    for _ in range(400):
        losses = np.cumsum(chance.random(300) < 0.5)
        called += any(
            weigh(int(losses[n - 1]), n - int(losses[n - 1]), n, alpha=0.05).verdict == "worse"
            for n in range(5, 301, 5)
        )
    assert called / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
