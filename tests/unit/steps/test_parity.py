from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.parity import rank_agreement, spread

SCORES = st.lists(st.integers(0, 20), min_size=2, max_size=30)


@given(SCORES, st.data())
def test_the_rank_agreement_is_the_share_of_pairs_in_the_same_order(
    trained: list[int], data: st.DataObject
) -> None:
    compiled = data.draw(st.lists(st.integers(0, 20), min_size=len(trained), max_size=len(trained)))
    pairs = [
        compiled[i] > compiled[j]
        for i in range(len(trained))
        for j in range(len(trained))
        if trained[i] > trained[j]
    ]
    expected = sum(pairs) / len(pairs) if pairs else None
    found = rank_agreement(np.array(compiled, float), np.array(trained, float))
    assert found == (None if expected is None else pytest.approx(expected))


def test_ties_within_the_tolerance_are_no_disagreement() -> None:
    trained = np.array([0.1, 0.5, 0.500001, 0.9])
    assert rank_agreement(trained[[0, 2, 1, 3]], trained) == 1.0
    assert rank_agreement(-trained, trained) == 0.0


def test_classes_are_compared_by_the_most_probable() -> None:
    trained = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    compiled = np.array([[0.5, 0.4, 0.1], [0.1, 0.6, 0.3]])
    assert rank_agreement(compiled, trained) == 0.5


@given(st.integers(1, 500), st.integers(1, 50))
def test_rows_are_spread_over_all(rows: int, most: int) -> None:
    found = spread(rows, most).tolist()
    assert len(found) == min(rows, most)
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] == (rows - 1 if len(found) > 1 else 0)
