from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.speed import MARGIN, Speed, crossover, measure

RATIOS = st.lists(st.floats(0.01, 100), min_size=4, max_size=4)


def speeds(*ratios: float) -> list[Speed]:
    return [Speed(10**n, ratio, 1.0) for n, ratio in enumerate(ratios)]


@pytest.mark.parametrize(
    ("ratios", "found"),
    [
        ((70, 40, 8, 2.7), None),
        ((70, 40, 8, 0.7), None),
        ((70, 40, 8, 0.6), 1000),
        ((70, 0.2, 8, 0.6), 1000),
        ((0.5, 0.5, 0.5, 0.5), 1),
        ((0.5, 0.5, 0.5, 2.0), None),
    ],
)
def test_the_trained_model_must_be_clearly_faster_from_a_size_on(
    ratios: tuple[float, ...], found: int | None
) -> None:
    assert crossover(speeds(*ratios)) == found


@given(RATIOS)
def test_above_the_crossover_it_is_always_faster_and_just_below_it_is_not(ratios: list[float]) -> None:
    measured = speeds(*ratios)
    found = crossover(measured)
    faster = [one.rows for one in measured if (one.ratio or 0) <= 1 / MARGIN]
    if found is None:
        assert 1000 not in faster
    else:
        assert {one.rows for one in measured if one.rows >= found} <= set(faster)
        assert found == 1 or found // 10 not in faster


@given(RATIOS)
def test_only_close_ratios_may_decide_otherwise_next_time(ratios: list[float]) -> None:
    measured = [one for one in speeds(*ratios) if not one.close]
    noisy = [Speed(one.rows, one.sklearn * 1.3, one.onnx) for one in measured]
    assert crossover(measured) == crossover(noisy)


def test_without_a_compiled_model_there_is_nothing_to_decide() -> None:
    called = []
    one = measure(10, lambda: called.append(1), None)
    assert called
    assert (one.onnx, one.ratio, one.close) == (None, None, False)
    assert crossover([one]) is None
