from __future__ import annotations

import numpy as np
import pytest

from monitoring.explain import dependence
from monitoring.explain.dependence import Columns, partial_dependence


def columns(**given: list[object]) -> Columns:
    made = {}
    for name, values in given.items():
        text = any(isinstance(one, str) for one in values)
        made[name] = np.array(values, dtype=object if text else np.float32).reshape(-1, 1)
    return made


def score(given: Columns) -> np.ndarray:
    x = np.nan_to_num(given["x"][:, 0].astype(float))
    extra = np.where(given["c"][:, 0] == "b", 10.0, 0.0)
    return np.column_stack([2 * x + extra, -x])


ROWS = columns(x=[0, 1, 2, 3, 4, 10, np.nan], c=["a", "b", "a", "", "b", "a", "a"])


def test_a_number_is_tried_at_the_centres_of_equal_buckets() -> None:
    found = partial_dependence(score, ROWS, "x", resolution=5)
    assert found.kind == "numerical"
    assert found.values == (1, 3, 5, 7, 9)
    assert found.distribution == pytest.approx([2 / 6, 2 / 6, 1 / 6, 0, 1 / 6])
    assert found.predictions[0] == pytest.approx([2 * x + 20 / 7 for x in found.values])
    assert found.predictions[1] == pytest.approx([-x for x in found.values])


def test_a_text_is_tried_at_all_its_values() -> None:
    found = partial_dependence(score, ROWS, "c")
    assert (found.kind, found.values) == ("categorical", ("a", "b"))
    assert found.distribution == pytest.approx([4 / 6, 2 / 6])
    assert found.predictions[0] == pytest.approx([40 / 7, 40 / 7 + 10])


def test_the_rows_of_many_values_go_to_the_model_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(given: Columns) -> np.ndarray:
        sizes.append(len(given["x"]))
        return score(given)

    whole = partial_dependence(counting, ROWS, "x")
    assert sizes == [15 * 7]
    monkeypatch.setattr(dependence, "AT_ONCE", 20)
    sizes.clear()
    assert partial_dependence(counting, ROWS, "x") == whole
    assert max(sizes) <= 20
    assert sum(sizes) == 15 * 7


def test_a_constant_and_a_column_without_values() -> None:
    constant = columns(x=[3, 3, np.inf], c=["a", "a", "b"])
    found = partial_dependence(score, constant, "x")
    assert (found.values, found.distribution) == ((3.0,), (1.0,))
    nothing = columns(x=[np.nan, np.nan], c=["", "b"])
    document = partial_dependence(score, nothing, "x").document()
    assert document == {
        "feature_name": "x",
        "data_type": "numerical",
        "error": "no row has a value; nothing was computed",
    }


def test_only_the_most_frequent_texts_are_tried() -> None:
    many = columns(
        x=[0.0] * 251, c=["b", *(f"v{n:03}" for n in range(125)), *(f"v{n:03}" for n in range(125))]
    )
    found = partial_dependence(score, many, "c")
    assert len(found.values) == dependence.MOST_VALUES
    assert "b" not in found.values
    assert sum(found.distribution) == pytest.approx(1)


def test_the_document_is_clarifys() -> None:
    assert partial_dependence(score, ROWS, "c").document().keys() == {
        "feature_name",
        "data_type",
        "feature_values",
        "model_predictions",
        "data_distribution",
    }
