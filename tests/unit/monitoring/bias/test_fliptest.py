from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from monitoring.bias.fliptest import flip_test
from monitoring.bias.settings import BiasConfig, BiasRefused, Facet

FACET = np.array(list("MFFMFMFFMMFF"))
SAID = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0], dtype=bool)
FRAME = pl.DataFrame(
    {
        "x1": [0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0],
        "x2": [3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2],
        "name": list("abcdefghijkl"),
    }
)


def config(rows: int, resamples: int = 100) -> BiasConfig:
    return BiasConfig((1,), (Facet("facet"),), flip_rows=rows, resamples=resamples)


def found(facet: str = "F", *, frame: pl.DataFrame = FRAME, columns=("x1", "x2"), mode="clarify", most=100):
    sides = (facet == FACET, facet != FACET)
    rng = np.random.default_rng(1)
    return flip_test(frame, columns, sides, SAID, config=config(most), mode=mode, rng=rng)


@pytest.mark.parametrize(("facet", "expected"), [("F", 0.42857142857142855), ("M", -0.2)])
def test_clarify_s_code_and_the_definition_differ_in_sign(facet: str, expected: float) -> None:
    assert found(facet).value == pytest.approx(expected, abs=1e-12)
    assert found(facet, mode="exact").value == pytest.approx(-expected, abs=1e-12)


def test_who_is_refused_what_neighbours_get() -> None:
    said = FACET == "M"
    sides = (FACET == "F", FACET == "M")
    flips = flip_test(
        FRAME, ("x1",), sides, said, config=config(100), mode="exact", rng=np.random.default_rng(1)
    )
    assert flips.value == 1.0


def test_text_is_refused_in_clarify_mode_and_counts_in_exact_mode() -> None:
    with pytest.raises(BiasRefused, match="FlipTest does not support non-numeric columns"):
        found(columns=("x1", "name"))
    same_job = FRAME.with_columns(job=pl.Series(["clerk" if said else "cook" for said in SAID]))
    sides = (FACET == "F", FACET == "M")
    flips = flip_test(
        same_job, ("job",), sides, SAID, config=config(100), mode="exact", rng=np.random.default_rng(1)
    )
    assert (flips.value, flips.left_out) == (0.0, ())


def test_many_rows_are_sampled() -> None:
    flips = found(most=3)
    assert (flips.asked, flips.partly) == (3, True)
    assert not found().partly


def test_rows_without_all_features_are_left_out() -> None:
    frame = FRAME.with_columns(x1=pl.when(pl.col("name") != "b").then(pl.col("x1")))
    flips = found(frame=frame)
    assert (flips.asked, flips.partly) == (6, True)


def test_standard_errors_are_those_of_other_samples() -> None:
    rng = np.random.default_rng(2)
    values, spreads = [], []
    for _ in range(60):
        frame = pl.DataFrame({"x": rng.normal(size=400)})
        woman = rng.random(400) < 0.5
        said = frame["x"].to_numpy() + rng.normal(size=400) > 0.3 * woman
        flips = flip_test(frame, ("x",), (woman, ~woman), said, config=config(1000), mode="exact", rng=rng)
        values.append(flips.value)
        spreads.append(flips.spread)
    assert 0.85 < np.mean(spreads) / np.std(values) < 1.8


def test_without_resamples_there_is_no_standard_error() -> None:
    sides, rng = (FACET == "F", FACET != "F"), np.random.default_rng(1)
    flips = flip_test(FRAME, ("x1",), sides, SAID, config=config(9, 0), mode="exact", rng=rng)
    assert flips.spread is None


def test_an_empty_side() -> None:
    with pytest.raises(BiasRefused, match="^Facet set is empty"):
        found("X")
