from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.codecs import Columns
from serving.explain import kernel
from serving.explain.explainer import Explained, KernelExplainer
from serving.explain.game import linked, seed
from serving.explain.settings import Player

Function = Callable[[np.ndarray], np.ndarray]


def columns(rows: np.ndarray) -> Columns:
    return {f"x{n}": rows[:, n : n + 1].astype(float) for n in range(rows.shape[1])}


def explained(
    function: Function, row: list[float], baseline: list[list[float]], logit: bool = False, **more: object
) -> tuple[np.ndarray, float, Explained]:
    def score(given: Columns) -> np.ndarray:
        return linked(function(np.hstack(list(given.values()))), logit=logit)

    players = [Player(f"x{n}", (f"x{n}",)) for n in range(len(row))]
    explainer = KernelExplainer(score, players, columns(np.array(baseline, float)), **more)  # type: ignore[arg-type]
    given = columns(np.array([row], float))
    one = explainer.explain(given, [0], score(given), 60.0)[0]
    assert one is not None
    assert one.values.sum() + explainer.expected[0] == pytest.approx(score(given)[0, 0], abs=1e-12)
    return one.values[:, 0], float(explainer.expected[0]), one


def linear(x: np.ndarray) -> np.ndarray:
    return x @ np.array([1, -2, 0.5, 3]) + 0.1


def test_golden_linear() -> None:
    found, expected, one = explained(linear, [1, 2, 3, 4], [[0] * 4])
    assert found == pytest.approx([1, -4, 1.5, 12], abs=1e-12)
    assert expected == pytest.approx(0.1)
    assert (one.samples, one.exact) == (14, True)
    found, expected, _ = explained(linear, [1, 2, 3, 4], [[0] * 4, [1] * 4])
    assert found == pytest.approx([0.5, -3, 1.25, 10.5], abs=1e-12)
    assert expected == pytest.approx(1.35)


def test_golden_product() -> None:
    found, _, _ = explained(lambda x: x[:, 0] * x[:, 1] + x[:, 2], [2, 3, 4], [[0] * 3])
    assert found == pytest.approx([3, 3, 4], abs=1e-12)


def test_golden_sigmoid_and_its_log_odds() -> None:
    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x @ np.array([1, -2, 0.5])))

    found, _, _ = explained(sigmoid, [1, 0.5, 2], [[0] * 3])
    assert found == pytest.approx([0.21750523, -0.20395189, 0.21750523], abs=1e-8)
    found, _, _ = explained(sigmoid, [1, 0.5, 2], [[0] * 3], logit=True)
    assert found == pytest.approx([1, -1, 1], abs=1e-9)


def games(players: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-100, 100), min_size=2**players, max_size=2**players)


def by_orders(values: list[float], players: int) -> np.ndarray:
    """The definition: the mean gain of each player over all orders in which they may join."""
    found = np.zeros(players)
    for order in permutations(range(players)):
        there = 0
        for player in order:
            found[player] += values[there | 1 << player] - values[there]
            there |= 1 << player
    return found / math.factorial(players)


def solve(values: list[float], made: kernel.Design) -> np.ndarray:
    asked = np.array([[values[int(sum(1 << n for n in np.flatnonzero(line)))]] for line in made.members])
    none, every = np.array([values[0]]), np.array([values[-1]])
    return kernel.attributions(made, asked.reshape(-1, 1), none, every)[:, 0]


@given(st.integers(1, 5).flatmap(lambda m: games(m).map(lambda values: (m, values))))
def test_all_coalitions_give_the_definition(drawn: tuple[int, list[float]]) -> None:
    players, values = drawn
    made = kernel.design(players, 10**6, 0)
    assert made.exact
    assert solve(values, made) == pytest.approx(by_orders(values, players), abs=1e-9)


@given(games(5), st.integers(10, 29), st.integers(0, 9))
def test_some_coalitions_still_add_up(values: list[float], samples: int, chance: int) -> None:
    made = kernel.design(5, samples, chance)
    assert not made.exact
    assert solve(values, made).sum() == pytest.approx(values[-1] - values[0], abs=1e-8)


@given(games(4), st.integers(0, 3), st.integers(0, 3))
def test_symmetric_players_get_equal_parts_and_dummies_nothing(values: list[float], a: int, b: int) -> None:
    def swapped(number: int) -> int:
        bits = [number >> n & 1 for n in range(4)]
        bits[a], bits[b] = bits[b], bits[a]
        return sum(bit << n for n, bit in enumerate(bits))

    made = kernel.design(4, 100, 0)
    symmetric = [values[n] + values[swapped(n)] for n in range(16)]
    found = solve(symmetric, made)
    assert found[a] == pytest.approx(found[b], abs=1e-9)
    dummy = [values[n & ~(1 << a)] for n in range(16)]
    assert solve(dummy, made)[a] == pytest.approx(0, abs=1e-9)


@given(st.integers(3, 40), st.integers(1, 3000), st.integers(0, 3))
def test_designs(players: int, samples: int, chance: int) -> None:
    made = kernel.design(players, samples, chance)
    assert kernel.least(players) <= len(made.members) <= max(samples, kernel.least(players))
    assert len(np.unique(made.members, axis=0)) == len(made.members)
    size = made.members.sum(axis=1)
    assert size.min() >= 1
    assert size.max() < players
    assert np.linalg.matrix_rank(made.members.astype(float)) == players
    assert {line.tobytes() for line in made.members} == {line.tobytes() for line in ~made.members}
    again = kernel.design(players, samples, chance)
    assert np.array_equal(made.members, again.members)
    assert np.array_equal(made.weights, again.weights)


def test_sampling_comes_near() -> None:
    draw = np.random.default_rng(5)
    weights = draw.normal(size=14)

    def score(x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ weights / 3) + 0.2 * x[:, 0] * x[:, 1]

    row, baseline = draw.normal(size=14).tolist(), [[0.0] * 14]
    exact, _, all_of_them = explained(score, row, baseline, samples=2**14)
    some, _, one = explained(score, row, baseline)
    assert all_of_them.exact
    assert (one.samples or 0, one.exact) == (pytest.approx(2076, abs=40), False)
    assert np.abs(some - exact).max() < 0.01 * np.abs(exact).max()
    few, _, _ = explained(score, row, baseline, samples=1)
    assert np.abs(few - exact).max() < 0.2 * np.abs(exact).max()


def test_columns_like_the_baseline_take_no_part() -> None:
    found, _, one = explained(linear, [1, 0, 3, 0], [[0] * 4])
    assert found.tolist() == [1, 0, 1.5, 0]
    assert one.samples == 2
    found, _, one = explained(lambda x: np.nan_to_num(x).sum(axis=1), [np.nan, 1], [[np.nan, 0]])
    assert (found.tolist(), one.samples) == ([0, 1], 0)
    found, _, one = explained(linear, [0] * 4, [[0] * 4])
    assert (found.tolist(), one.samples, one.exact) == ([0] * 4, 0, True)


def test_the_seed_is_the_row_s_own() -> None:
    rows: Columns = {
        "a": np.array([[1.0], [2.0], [np.nan]]),
        "c": np.array([["ä"], ["b"], [""]], dtype=object),
    }
    alone = {name: values[1:2] for name, values in rows.items()}
    assert seed(rows, 1, 0) == seed(alone, 0, 0)
    narrow = {"a": rows["a"].astype(np.float32), "c": rows["c"]}
    assert [seed(rows, n, 0) for n in range(3)] == [seed(narrow, n, 0) for n in range(3)]
    assert len({seed(rows, n, chance) for n in range(3) for chance in range(2)}) == 6
