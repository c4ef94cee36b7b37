from __future__ import annotations

import numpy as np
import pytest

from monitoring.bias import intervals
from monitoring.bias.catalogue import ALL, BY_NAME
from monitoring.bias.intervals import interval, spreads

CELLS = np.array([[[[300, 40, 0], [60, 200, 0]]], [[[150, 30, 0], [70, 90, 0]]]], dtype=np.int64)


def test_standard_errors_are_those_of_theory() -> None:
    rng = np.random.default_rng(1)
    found = spreads(CELLS, [1], [BY_NAME["DPL"], BY_NAME["CI"]], "exact", rng, 4000)
    (na, pa), (nd, pd) = ((side.sum(), side[0, 1].sum() / side.sum()) for side in CELLS)
    assert found[1, "DPL"] == pytest.approx(np.sqrt(pa * (1 - pa) / na + pd * (1 - pd) / nd), rel=0.05)
    share = na / (na + nd)
    assert found[1, "CI"] == pytest.approx(2 * np.sqrt(share * (1 - share) / (na + nd)), rel=0.05)


def test_a_seed_fixes_them_and_blocks_do_not_matter_for_their_size(monkeypatch) -> None:
    counted = [metric for metric in ALL if metric.formula]
    one, other = (spreads(CELLS, [0, 1], counted, "exact", np.random.default_rng(3), 500) for _ in range(2))
    assert one == other
    monkeypatch.setattr(intervals, "_NUMBERS", 1000)
    blocks = spreads(CELLS, [0, 1], counted, "exact", np.random.default_rng(3), 500)
    assert blocks[1, "DPL"] == pytest.approx(one[1, "DPL"], rel=0.2)


def test_what_is_mostly_undefined_has_no_interval() -> None:
    cells = np.array([[[[5, 0, 0], [5, 0, 0]]], [[[5, 0, 0], [5, 0, 0]]]], dtype=np.int64)
    found = spreads(cells, [1], [BY_NAME["DI"], BY_NAME["DPL"]], "exact", np.random.default_rng(1), 200)
    assert found[1, "DI"] is None
    assert found[1, "DPL"] is not None


def test_no_rows_no_interval() -> None:
    found = spreads(np.zeros((2, 1, 2, 3), int), [1], [BY_NAME["DPL"]], "exact", np.random.default_rng(1), 9)
    assert found == {(1, "DPL"): None}


@pytest.mark.parametrize(
    ("value", "spread", "expected"),
    [(0.5, 0.1, (0.304, 0.696)), (None, 0.1, None), (0.5, None, None), (float("inf"), 0.1, None)],
)
def test_normal_intervals(value, spread, expected) -> None:
    assert interval(value, spread, 1.96) == (pytest.approx(expected) if expected else None)
