"""Columns of a flip test as numbers."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from monitoring.bias import features
from monitoring.bias.features import Features
from monitoring.bias.settings import BiasConfig, BiasRefused

ROWS = pl.DataFrame(
    {
        "age": [30, None, 40],
        "job": ["clerk", None, "cook"],
        "new": [True, False, None],
        "kin": [["a"], ["b"], ["c"]],
    }
)


def test_different_texts_are_as_far_apart_as_numbers_that_differ_by_one() -> None:
    rows = Features.of(ROWS, ("job",), "exact").matrix(ROWS)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert np.allclose(apart, 1 - np.eye(3))


def test_numbers_keep_their_units_and_their_gaps() -> None:
    chosen = Features.of(ROWS, ("new", "job", "age"), "exact")
    rows = chosen.matrix(ROWS)
    assert (chosen.numbers, dict(chosen.texts)) == (("new", "age"), {"job": ("", "clerk", "cook")})
    assert rows[:, 1].tolist()[::2] == [30.0, 40.0]
    assert math.isnan(rows[1, 1])
    assert math.isnan(rows[2, 0])


def test_the_same_texts_have_the_same_columns_in_any_part_of_the_rows() -> None:
    chosen = Features.of(ROWS, ("job",), "exact")
    assert np.array_equal(chosen.matrix(ROWS)[2:], chosen.matrix(ROWS[2:]))


def test_what_is_not_there_and_too_many_texts_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_TEXTS", 2)
    chosen = Features.of(ROWS, ("age", "job", "kin", "height"), "exact")
    assert chosen.left_out == ("job", "kin", "height")


@pytest.mark.parametrize(
    ("columns", "mode", "message"),
    [
        (("age", "job"), "clarify", "does not support non-numeric"),
        (("kin",), "exact", "does not support non-numeric"),
        ((), "exact", "needs features"),
    ],
)
def test_refusals(columns: tuple[str, ...], mode: features.Mode, message: str) -> None:
    with pytest.raises(BiasRefused, match=message):
        Features.of(ROWS, columns, mode)


def test_settings_name_features_or_the_inputs_of_the_model_do() -> None:
    section = {"label_values_or_threshold": [1], "facets": [{"name": "sex"}], "features": [], "resamples": 80}
    assert BiasConfig.of(section, inputs=["age", "sex"]).features == ("age", "sex")
    assert BiasConfig.of(section).features is None
    named = BiasConfig.of({**section, "features": ["age"], "rule": "farther"}, inputs=["job"], alpha=0.1)
    assert (named.features, named.rule, named.alpha, named.resamples) == (("age",), "farther", 0.1, 80)
