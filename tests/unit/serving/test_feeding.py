from __future__ import annotations

import numpy as np
import pytest

from serving import codecs
from serving.feeding import Feeding
from tests.fakes.model import manifest

COLUMNS, NUMBERS = ("delay", "hour", "carrier"), ("delay", "hour")
ROWS = codecs.decode(b'[[1.5, 7, "UA"], [2.5, 8, "DL"]]', codecs.JSON, manifest())
APART = {name: np.array(values) for name, values in ROWS.items()}


@pytest.mark.parametrize("columns", [ROWS, APART], ids=["as decoded", "each for itself"])
def test_numbers_go_together(columns: codecs.Columns) -> None:
    feeds = Feeding(["numbers", "carrier_in"], COLUMNS, NUMBERS)(columns)
    assert {name: values.tolist() for name, values in feeds.items()} == {
        "numbers": [[1.5, 7.0], [2.5, 8.0]],
        "carrier_in": [["UA"], ["DL"]],
    }


@pytest.mark.parametrize("columns", [ROWS, APART], ids=["as decoded", "each for itself"])
def test_a_graph_of_before_takes_each_column(columns: codecs.Columns) -> None:
    feeds = Feeding(["x", "y", "z"], COLUMNS, NUMBERS)(columns)
    assert {name: values.tolist() for name, values in feeds.items()} == {
        "x": [[1.5], [2.5]],
        "y": [[7.0], [8.0]],
        "z": [["UA"], ["DL"]],
    }


@pytest.mark.parametrize(
    ("graph", "columns", "numbers", "found"),
    [
        (["numbers"], ("delay", "hour"), ("delay", "hour"), {"numbers": [[1.5, 7.0], [2.5, 8.0]]}),
        (["hour"], ("hour",), ("hour",), {"hour": [[7.0], [8.0]]}),
        (["carrier"], ("carrier",), (), {"carrier": [["UA"], ["DL"]]}),
    ],
)
def test_one_kind_alone(
    graph: list[str], columns: tuple[str, ...], numbers: tuple[str, ...], found: dict[str, object]
) -> None:
    feeds = Feeding(graph, columns, numbers)(APART)
    assert {name: values.tolist() for name, values in feeds.items()} == found


@pytest.mark.parametrize("graph", [["a"], ["a", "b", "c", "d"]])
def test_another_graph_is_refused(graph: list[str]) -> None:
    with pytest.raises(ValueError, match="not these 3 columns"):
        Feeding(graph, COLUMNS, NUMBERS)
