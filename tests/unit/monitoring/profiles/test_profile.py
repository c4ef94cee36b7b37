"""Profiles of parts merge into the profile of the whole, and survive as bytes."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.profiles import Profile, ProfileUnreadable, encoding, merge, scan

values = {
    "number": st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    "whole": st.none() | st.integers(-5, 5),
    "wide": st.none() | st.integers(-(10**12), 10**12),
    "text": st.none() | st.text(max_size=2) | st.sampled_from(["1", "2.5", "true", "-7"]),
    "digits": st.none() | st.integers(0, 99).map(str),
    "flag": st.none() | st.booleans(),
}
SCHEMA = {
    "number": pl.Float64,
    "whole": pl.Int64,
    "wide": pl.Int64,
    "text": pl.String,
    "digits": pl.String,
    "flag": pl.Boolean,
}
tables = st.lists(st.fixed_dictionaries(values), max_size=25).map(
    lambda rows: pl.DataFrame(rows, schema=SCHEMA)
)


def alike(one: Profile, other: Profile) -> None:
    assert one.rows == other.rows
    assert set(one.columns) == set(other.columns)
    for name, a in one.columns.items():
        b = other.columns[name]
        assert (a.present, a.missing, a.types, a.categories, a.kind) == (
            b.present,
            b.missing,
            b.types,
            b.categories,
            b.kind,
        )
        assert (a.numeric is None) == (b.numeric is None)
        if a.numeric and b.numeric:
            assert a.numeric.moments.n == b.numeric.moments.n
            assert a.numeric.infinite == b.numeric.infinite
            if not a.numeric.moments.n:
                continue
            size = max(abs(a.numeric.moments.minimum), abs(a.numeric.moments.maximum))
            assert a.numeric.quantiles == b.numeric.quantiles
            assert a.numeric.moments.mean == pytest.approx(
                b.numeric.moments.mean, rel=1e-12, abs=1e-12 * size
            )
            assert a.numeric.moments.m2 == pytest.approx(b.numeric.moments.m2, rel=1e-12, abs=1e-12 * size**2)


@given(tables, tables, tables, st.sampled_from([None, {"text": "numeric", "whole": "categorical"}]))
def test_the_parts_make_the_whole(a, b, c, kinds) -> None:
    one, two, three = (scan.profile(each, kinds) for each in (a, b, c))
    whole = scan.profile(pl.concat([a, b, c]), kinds)
    for merged in (one.merge(two).merge(three), one.merge(two.merge(three)), merge(three, one, two)):
        alike(merged, whole)


@given(tables, st.lists(st.integers(0, 25), max_size=4))
def test_any_cut_of_a_table_streams_to_the_same(table, cuts) -> None:
    edges = [0, *sorted(min(cut, table.height) for cut in cuts), table.height]
    parts = [table[start:end] for start, end in itertools.pairwise(edges)]
    streamed = scan.profile_batches(parts)
    assert streamed.to_bytes() == scan.profile(table).to_bytes() or table.is_empty()


def test_large_parts_stay_within_the_error_of_the_sketch() -> None:
    table = pl.DataFrame({"x": np.random.default_rng(1).normal(size=30_000)})
    whole = scan.profile(table).columns["x"].numeric
    merged = merge(*(scan.profile(part) for part in table.iter_slices(1_700))).columns["x"].numeric
    assert whole
    assert merged
    asked = np.linspace(-3, 3, 500)
    apart = np.abs(whole.quantiles.cdf(asked) - merged.quantiles.cdf(asked)).max()
    assert apart <= whole.quantiles.error + merged.quantiles.error
    assert merged.moments.mean == pytest.approx(whole.moments.mean, rel=1e-12)
    assert merged.moments.m2 == pytest.approx(whole.moments.m2, rel=1e-12)


def test_a_column_that_one_part_lacks_is_missing_there() -> None:
    merged = merge(scan.profile(pl.DataFrame({"a": [1, 2]})), scan.profile(pl.DataFrame({"b": ["x"]})))
    assert merged.rows == 3
    assert list(merged.columns) == ["a", "b"]
    assert (merged.columns["a"].present, merged.columns["a"].missing) == (2, 1)
    assert merged.columns["b"].completeness == pytest.approx(1 / 3)


def test_nothing_merges_to_nothing() -> None:
    assert merge() == Profile() == Profile().merge(Profile())
    one = scan.profile(pl.DataFrame({"a": [1]}))
    assert merge(Profile(), one) == one == one.merge(Profile())


@given(tables)
def test_bytes_come_back(table) -> None:
    profile = scan.profile(table)
    content = profile.to_bytes()
    assert Profile.from_bytes(content) == profile
    assert Profile.from_bytes(content).to_bytes() == content
    assert scan.profile(table.clone()).to_bytes() == content


def test_merged_sketches_and_estimates_come_back() -> None:
    rng = np.random.default_rng(2)
    parts = [
        pl.DataFrame({"x": rng.normal(size=9_000), "id": [f"{part}-{n}" for n in range(9_000)]})
        for part in range(2)
    ]
    profile = scan.profile(parts[0]).merge(scan.profile(parts[1]))
    assert not profile.columns["id"].categories.exact
    assert Profile.from_bytes(profile.to_bytes()) == profile


CONTENT = scan.profile(pl.DataFrame({"a": [1.5, None], "ü": ["x", "y"]})).to_bytes()


@given(st.binary(max_size=60) | st.integers(0, len(CONTENT) - 1).map(lambda cut: CONTENT[:cut]))
def test_garbage_is_refused(content) -> None:
    with pytest.raises(ProfileUnreadable, match="from the rows again|again"):
        Profile.from_bytes(content)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused(at, by) -> None:
    changed = bytearray(CONTENT)
    changed[at] ^= by
    with pytest.raises(ProfileUnreadable):
        Profile.from_bytes(bytes(changed))


def test_another_version_is_named() -> None:
    other = CONTENT[:13] + bytes([encoding.VERSION + 1]) + CONTENT[14:]
    with pytest.raises(ProfileUnreadable, match=f"version {encoding.VERSION + 1}"):
        Profile.from_bytes(other)


def test_without_some_columns() -> None:
    profile = scan.profile(pl.DataFrame({"a": [1], "b": [2], "c": [3]}))
    assert list(profile.without("b", "z").columns) == ["a", "c"]
