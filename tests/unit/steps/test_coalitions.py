from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from serving.codecs import Columns
from serving.explain import kernel
from serving.explain.game import linked
from steps import coalitions
from steps.coalitions import Asked, Games

Function = Callable[[np.ndarray], np.ndarray]


def columns(rows: list[list[float]]) -> Columns:
    table = np.array(rows, dtype=float)
    return {f"x{n}": table[:, n : n + 1] for n in range(table.shape[1])}


def asked(
    function: Function, rows: list[list[float]], baseline: list[list[float]], *, logit: bool = False
) -> tuple[Asked, float]:
    def score(given: Columns) -> np.ndarray:
        return linked(function(np.hstack(list(given.values()))), logit=logit)

    games = Games(score, [f"x{n}" for n in range(len(rows[0]))], columns(baseline), 7)
    given = columns(rows)
    found = games.explain(given, score(given), None, lambda _done, _rows: None)
    sums = games.expected + found.values.sum(axis=1)
    assert sums == pytest.approx(score(given), abs=1e-9)
    return found, float(games.expected[0])


def linear(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ np.array([1, -2, 0.5, 3]) + 0.1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(x @ np.array([1, -2, 0.5])))))


@pytest.mark.parametrize(
    ("baseline", "expected", "mean"),
    [([[0.0] * 4], [1, -4, 1.5, 12], 0.1), ([[0.0] * 4, [1.0] * 4], [0.5, -3, 1.25, 10.5], 1.35)],
)
def test_golden_linear(baseline: list[list[float]], expected: list[float], mean: float) -> None:
    found, told = asked(linear, [[1, 2, 3, 4]], baseline)
    assert found.values[0, :, 0] == pytest.approx(expected, abs=1e-12)
    assert told == pytest.approx(mean, abs=1e-12)
    assert found.exact


def test_golden_product() -> None:
    found, _ = asked(lambda x: x[:, 0] * x[:, 1] + x[:, 2], [[2, 3, 4]], [[0] * 3])
    assert found.values[0, :, 0] == pytest.approx([3, 3, 4], abs=1e-12)


def test_golden_sigmoid_and_its_log_odds() -> None:
    found, _ = asked(sigmoid, [[1, 0.5, 2]], [[0] * 3])
    assert found.values[0, :, 0] == pytest.approx([0.21750523, -0.20395189, 0.21750523], abs=1e-8)
    found, _ = asked(sigmoid, [[1, 0.5, 2]], [[0] * 3], logit=True)
    assert found.values[0, :, 0] == pytest.approx([1, -1, 1], abs=1e-9)


def test_rows_together_are_what_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[1, 2, 3, 4], [0, 0, 0, 0], [1, 0, 2, 0], [4, 3, 2, 1]]
    baseline = [[0.0] * 4, [1.0, 0, 2, 0]]

    def product(x: np.ndarray) -> np.ndarray:
        return np.asarray(x.prod(axis=1) + x[:, 0] * x[:, 2])

    together, _ = asked(product, rows, baseline)
    monkeypatch.setattr(coalitions, "AT_ONCE", 5)
    for place, row in enumerate(rows):
        alone, _ = asked(product, [row], baseline)
        assert alone.values[0] == pytest.approx(together.values[place], abs=1e-12)


def test_a_row_that_is_the_baseline_asks_nothing() -> None:
    found, _ = asked(linear, [[1, 2, 3, 4]], [[1, 2, 3, 4]])
    assert found.values.tolist() == [[[0.0]] * 4]
    assert found.exact


def test_few_calls_for_many_rows() -> None:
    sizes: list[int] = []

    def counted(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return linear(x)

    draw = np.random.default_rng(1)
    asked(counted, draw.normal(size=(500, 4)).tolist(), [[0.0] * 4])
    assert sorted(sizes) == [1, 500, 500, 500 * kernel.coalitions(4)]
