"""Exact tests on pairs that disagree, held against whole numbers."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.discordance import LOOKS, log_evidence, looks, sign_test, tail


def probability(trials: int, most: int) -> Fraction:
    return Fraction(sum(math.comb(trials, k) for k in range(most + 1)), 2**trials)


@given(st.integers(0, 300), st.integers(-1, 300))
def test_tail_is_the_binomial_distribution(trials, most):
    exact = probability(trials, min(most, trials))
    assert math.exp(tail(trials, most)) == pytest.approx(float(exact), rel=1e-9, abs=1e-300)


@given(st.integers(0, 150), st.integers(0, 150))
def test_sign_test_is_exact_mcnemar(lost, won):
    exact = min(Fraction(1), 2 * probability(lost + won, min(lost, won)))
    assert sign_test(lost, won) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (9, 1, 22 / 1024)])
def test_sign_test_by_hand(lost, won, p):
    assert sign_test(lost, won) == pytest.approx(p)


@given(st.integers(0, 120), st.integers(0, 120))
def test_evidence_is_the_integral_of_all_bets(lost, won):
    n = lost + won
    exact = Fraction(sum(math.comb(n + 1, k) for k in range(lost + 1)), (n + 1) * math.comb(n, lost))
    assert log_evidence(lost, won) == pytest.approx(math.log(exact), abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_evidence_is_a_martingale_when_a_loss_is_as_likely_as_a_win(lost, won):
    after = (math.exp(log_evidence(lost + 1, won)) + math.exp(log_evidence(lost, won + 1))) / 2
    assert after == pytest.approx(math.exp(log_evidence(lost, won)), rel=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 0.5))
def test_evidence_does_not_grow_on_average_while_losses_are_no_likelier(lost, won, p):
    lose, win = math.exp(log_evidence(lost + 1, won)), math.exp(log_evidence(lost, won + 1))
    assert p * lose + (1 - p) * win <= math.exp(log_evidence(lost, won)) * (1 + 1e-9)


def test_nothing_seen_is_no_evidence():
    assert log_evidence(0, 0) == pytest.approx(0.0, abs=1e-12)


def test_equal_versions_are_seldom_called_worse_however_often_one_looks():
    draw, limit, alarms = random.Random(7), math.log(20), 0
    for _ in range(200):
        lost = won = 0
        for _ in range(150):
            if draw.random() < 0.5:
                lost += 1
            else:
                won += 1
            if log_evidence(lost, won) >= limit:
                alarms += 1
                break
    assert alarms <= 200 * 0.05 + 10


def test_a_version_that_loses_two_of_three_is_found():
    assert log_evidence(80, 40) > math.log(20)
    assert log_evidence(40, 80) < 0


def test_hundreds_of_thousands_of_pairs_do_not_overflow():
    assert log_evidence(252_000, 248_000) > 10
    assert math.isfinite(log_evidence(0, 500_000))
    assert sign_test(250_100, 249_900) > 0.5


@given(st.integers(0, 20_000))
def test_looks_are_few_in_order_and_end_at_the_end(length):
    found = list(looks(length))
    assert len(found) <= LOOKS
    assert found == sorted(set(found))
    assert (found[-1] if found else 0) == length
    assert found == list(range(1, length + 1)) or length > LOOKS
