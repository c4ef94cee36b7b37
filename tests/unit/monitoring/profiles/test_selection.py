"""Selection gives what a full sort gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.profiles.selection import at_ranks

N = 40_000
RNG = np.random.default_rng(11)
SHAPES = {
    "normal": RNG.normal(size=N),
    "long tail": RNG.lognormal(0, 4, N),
    "both signs, long tails": RNG.standard_cauchy(N) ** 3,
    "few whole numbers": RNG.integers(-3, 4, N).astype(float),
    "many whole numbers": RNG.integers(-(10**9), 10**9, N).astype(float),
    "mostly zero": np.where(RNG.random(N) < 0.97, 0.0, RNG.normal(size=N)),
    "one outlier": np.concatenate([RNG.normal(size=N - 1), [1e300]]),
    "the widest range": np.concatenate([RNG.normal(size=N - 2), [-1.7e308, 1.7e308]]),
    "tiny": RNG.normal(size=N) * 5e-324 + 0.0,
    "constant": np.full(N, 0.1),
    "two neighbours": np.where(RNG.random(N) < 0.5, 1.0, np.nextafter(1.0, 2.0)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [1, 97, 4096])
def test_as_a_sort(shape, step) -> None:
    values, ranks = SHAPES[shape], np.arange(0, N, step)
    assert np.array_equal(at_ranks(values, ranks), np.sort(values)[ranks])


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300), st.integers(0, 2**32))
def test_as_a_sort_wherever_the_numbers_lie(middle, width, seed) -> None:
    values = middle + width * np.random.default_rng(seed).normal(size=33_000).clip(-50, 50) + 0.0
    ranks = np.arange(16, values.size, 1_000)
    assert np.array_equal(at_ranks(values, ranks), np.sort(values)[ranks])
