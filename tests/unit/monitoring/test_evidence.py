"""The e-process: formula, validity, and how fast it finds harm."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.evidence import GRID, Evidence, Window, combine, grid, log_absolute, weigh

counts = st.integers(0, 400)


@st.composite
def windows(draw):
    n_c, n_s = draw(counts), draw(counts)
    return Window(n_c, draw(st.integers(0, n_c)), n_s, draw(st.integers(0, n_s)))


def by_the_book(seen, margin):
    """The formula of the docstring, written down naively."""
    low, high = 1.05 * margin, 20 * max(1.0, margin)
    total = 0.0
    for j in range(GRID):
        ratio = low * (high / low) ** (j / (GRID - 1))
        log = 0.0
        for w in seen:
            p = w.n_c / (w.n_c + w.n_s) if w.n_c + w.n_s else 0.0
            null, alternative = margin * p / (margin * p + 1 - p), ratio * p / (ratio * p + 1 - p)
            log += w.e_c * math.log(alternative / null) if w.e_c and p < 1 else 0.0
            log += w.e_s * math.log((1 - alternative) / (1 - null)) if w.e_s and 0 < p else 0.0
        total += math.exp(log) / GRID
    return math.log(total)


@given(
    st.lists(windows().filter(lambda w: w.n_c and w.n_s and w.e_c + w.e_s < 60), max_size=4), st.floats(1, 3)
)
def test_equals_the_formula(seen, margin):
    assert weigh(seen, margin).log_harm == pytest.approx(by_the_book(seen, margin), abs=1e-9, rel=1e-9)


@given(st.lists(windows(), max_size=8), st.integers(0, 8))
def test_may_be_saved_between_any_two_windows(seen, cut):
    whole = weigh(seen)
    parts = weigh(seen[cut:], start=weigh(seen[:cut]))
    assert parts == whole


@given(st.lists(windows(), max_size=6))
def test_a_window_that_only_one_arm_answered_says_nothing(seen):
    lonely = [Window(w.n_c, w.e_c, 0, 0) for w in seen] + [Window(0, 0, w.n_s, w.e_s) for w in seen]
    evidence = weigh(lonely)
    assert (evidence.log_harm, evidence.log_safe) == (0.0, 0.0)
    assert evidence.n_c == sum(w.n_c for w in seen)


def test_the_grid_runs_from_just_above_the_margin_to_twenty():
    assert grid(1.0)[0] == pytest.approx(1.05)
    assert grid(1.0)[-1] == pytest.approx(20.0)
    assert len(grid(2.0)) == GRID
    assert grid(2.0)[0] == pytest.approx(2.1)


def test_expected_value_is_at_most_one_under_the_null_exactly():
    """Sum over all outcomes of a small window, at the worst case p_c = margin * p_s."""
    for margin, p_s in ((1.0, 0.02), (1.0, 0.3), (1.5, 0.2)):
        p_c, n_c, n_s = margin * p_s, 4, 9
        expected = sum(
            math.comb(n_c, a) * p_c**a * (1 - p_c) ** (n_c - a)
            * math.comb(n_s, b) * p_s**b * (1 - p_s) ** (n_s - b)
            * math.exp(weigh([Window(n_c, a, n_s, b)], margin).log_harm)
            for a in range(n_c + 1) for b in range(n_s + 1)
        )  # fmt: skip
        assert expected <= 1 + 1e-12


def test_expected_value_of_the_safety_test_is_at_most_one_when_the_ratio_is_harm():
    safe_ratio, p_s, n_c, n_s = 2.0, 0.1, 4, 9
    p_c = safe_ratio * p_s
    expected = sum(
        math.comb(n_c, a) * p_c**a * (1 - p_c) ** (n_c - a)
        * math.comb(n_s, b) * p_s**b * (1 - p_s) ** (n_s - b)
        * math.exp(weigh([Window(n_c, a, n_s, b)], safe_ratio=safe_ratio).log_safe)
        for a in range(n_c + 1) for b in range(n_s + 1)
    )  # fmt: skip
    assert expected <= 1 + 1e-12


def test_absolute_safety_needs_about_three_hundred_clean_answers_for_one_percent():
    assert log_absolute(100, 0, 0.01) < math.log(20)
    assert log_absolute(1500, 0, 0.01) > math.log(20)
    assert log_absolute(1500, 30, 0.01) < 0


def test_combining_is_the_mean_of_the_values():
    assert combine([math.log(3.0), math.log(5.0)]) == pytest.approx(math.log(4.0))
    assert combine([]) == 0.0
    assert math.isfinite(combine([900.0, -900.0]))


def test_ratio_is_unknown_until_both_arms_answered():
    assert Evidence().ratio is None
    assert weigh([Window(100, 10, 100, 5)]).ratio == pytest.approx(10.5 / 5.5)


def test_a_broken_version_is_found_within_a_handful_of_errors():
    rng, seen, evidence = random.Random(1), 0, Evidence()
    while evidence.log_harm < math.log(20):
        errors = sum(rng.random() < 0.5 for _ in range(2))
        evidence = weigh([Window(2, errors, 18, 0)], start=evidence)
        seen += 2
    assert seen <= 20
