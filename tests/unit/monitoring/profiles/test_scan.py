"""Every kind of column has a profile, and none stops the others."""

import datetime as dt
import decimal
import math

import numpy as np
import polars as pl
import pytest

from monitoring.profiles import scan

STRANGE = pl.DataFrame(
    {
        "whole": [1, 2, None],
        "float": [1.0, math.nan, math.inf],
        "nothing": [None, None, None],
        "not a number": [math.nan] * 3,
        "infinite": [math.inf, math.inf, -math.inf],
        "flag": [True, None, False],
        "date": [dt.date(2024, 1, 31), None, dt.date(2024, 2, 1)],
        "instant": [dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)] * 3,
        "duration": [dt.timedelta(days=1)] * 3,
        "time": [dt.time(1)] * 3,
        "decimal": [decimal.Decimal("1.5"), None, decimal.Decimal(2)],
        "list": [[1, 2], None, [3]],
        "struct": [{"a": 1}, None, {"a": 2}],
        "array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        "binary": [b"a", None, b"\xff"],
        "object": pl.Series([{1}, None, {2}], dtype=pl.Object),
        "categorical": pl.Series(["7", None, "7"], dtype=pl.Categorical),
        "enum": pl.Series(["a", None, "a"], dtype=pl.Enum(["a"])),
        "huge": pl.Series([2**100, 1, None], dtype=pl.Int128),
        "long": ["x" * 10_000, "y", None],
        "mixed": ["1", "abc", None],
    }
)


@pytest.mark.parametrize("kind", [None, "numeric", "categorical"])
def test_strange_columns_are_profiled(kind) -> None:
    profile = scan.profile(STRANGE, kind and dict.fromkeys(STRANGE.columns, kind))
    assert list(profile.columns) == STRANGE.columns
    for column in profile.columns.values():
        assert column.rows == profile.rows == 3
        assert column.types.total == column.present
        assert column.categories is None or column.categories.total == column.present


@pytest.mark.parametrize(
    ("name", "inferred", "kind", "counts"),
    [
        ("whole", "Integral", "numeric", {"1": 1, "2": 1}),
        ("float", "Fractional", "numeric", {"1": 1, "inf": 1}),
        ("infinite", "Fractional", "numeric", {"inf": 2, "-inf": 1}),
        ("flag", "Boolean", "categorical", {"true": 1, "false": 1}),
        ("date", "String", "categorical", {"2024-01-31": 1, "2024-02-01": 1}),
        ("decimal", "Fractional", "numeric", {"1.5": 1, "2": 1}),
        ("list", "String", "categorical", {"[1,2]": 1, "[3]": 1}),
        ("struct", "String", "categorical", {'{"a":1}': 1, '{"a":2}': 1}),
        ("array", "String", "categorical", {"[1,2]": 1, "[3,4]": 1}),
        ("categorical", "Integral", "categorical", {"7": 2}),
        ("mixed", "String", "categorical", {"1": 1, "abc": 1}),
    ],
)
def test_what_is_inferred(name, inferred, kind, counts) -> None:
    column = scan.column(STRANGE[name])
    assert (column.inferred_type, column.kind) == (inferred, kind)
    assert column.categories
    assert dict(column.categories.counts) == counts


def test_null_and_nan_are_missing_and_infinity_is_not() -> None:
    column = scan.column(pl.Series("x", [1.0, None, math.nan, math.inf, -math.inf]))
    assert (column.present, column.missing) == (3, 2)
    assert column.numeric
    assert (column.numeric.infinite, column.numeric.moments.n, column.numeric.quantiles.n) == (2, 1, 1)
    assert scan.column(STRANGE["not a number"]).inferred_type == "Unknown"


def test_numbers_as_text_are_numbers() -> None:
    column = scan.column(pl.Series("x", ["1", " 2", "+ 3", "4.5", "1e999", None]))
    assert (column.inferred_type, column.kind) == ("Fractional", "numeric")
    assert column.numeric
    assert (column.numeric.moments.sum, column.numeric.infinite) == (10.5, 1)
    assert column.categories
    assert column.categories.total == 5


def test_text_declared_numeric_counts_the_rest_as_text() -> None:
    column = scan.column(pl.Series("x", ["1", "2", "?", ""]), "numeric")
    assert (column.kind, column.inferred_type, column.types.string) == ("numeric", "String", 2)
    assert column.numeric
    assert column.numeric.moments.n == 2


def test_numbers_declared_categorical_are_texts() -> None:
    column = scan.column(pl.Series("zip", [10115, 10115, 2**60 + 1]), "categorical")
    assert (column.kind, column.inferred_type, column.numeric) == ("categorical", "Integral", None)
    assert column.categories
    assert dict(column.categories.counts) == {"10115": 2, str(2**60 + 1): 1}


def test_one_and_one_point_zero_are_one_category() -> None:
    whole, parts = scan.column(pl.Series("x", [1, 2])), scan.column(pl.Series("x", [1.0, 2.5]))
    merged = whole.merge(parts)
    assert merged.categories
    assert dict(merged.categories.counts) == {"1": 2, "2": 1, "2.5": 1}


@pytest.mark.parametrize(("distinct", "counted"), [(50, True), (51, False)])
def test_few_distinct_numbers_are_counted(distinct, counted) -> None:
    column = scan.column(pl.Series("x", [n % distinct / 4 for n in range(500)]))
    assert (column.categories is not None) == counted


def test_a_late_surprise_is_still_counted() -> None:
    column = scan.column(pl.Series("x", np.concatenate([np.zeros(5_000), np.arange(60)])))
    assert column.categories is None


def test_identifiers_take_bounded_memory() -> None:
    column = scan.column(pl.Series("id", [f"{n:030d}x" for n in range(25_000)]))
    assert column.categories
    assert not column.categories.exact
    assert not column.categories.counts
    assert column.categories.distinct == pytest.approx(25_000, rel=0.05)
    assert len(column.categories.sketch) < 5_000


def test_empty_tables() -> None:
    assert scan.profile(pl.DataFrame()).rows == 0
    empty = scan.profile(STRANGE.clear())
    assert list(empty.columns) == STRANGE.columns
    assert {column.inferred_type for column in empty.columns.values()} == {"Unknown"}
    assert empty.columns["whole"].completeness == 1.0
    assert scan.profile_batches([]).rows == 0


def test_batches_may_change_their_columns_and_types() -> None:
    told: list[int] = []
    batches = [
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pl.DataFrame({"a": ["3", "?"]}),
        pl.DataFrame({"a": [4.5], "c": [None]}),
    ]
    profile = scan.profile_batches(batches, progress=told.append)
    assert told == [2, 4, 5]
    assert profile.columns["a"].inferred_type == "String"
    assert (profile.columns["b"].present, profile.columns["b"].missing) == (2, 3)
    assert profile.columns["c"].inferred_type == "Unknown"


def test_threads_change_nothing() -> None:
    table = pl.DataFrame({f"x{n}": np.random.default_rng(n).normal(size=2_000) for n in range(5)})
    assert scan.profile(table, threads=1).to_bytes() == scan.profile(table, threads=4).to_bytes()


@pytest.mark.parametrize(
    ("values", "types", "kind"),
    [
        ([1.0, 2.0, None, float("nan")], (2, 0), "Integral"),
        ([1.0, 2.5, float("inf")], (1, 2), "Fractional"),
        ([-3.0, 1e300, -0.0], (3, 0), "Integral"),
        ([float("-inf")], (0, 1), "Fractional"),
    ],
)
def test_a_whole_number_is_integral_however_it_is_stored(values, types, kind) -> None:
    column = scan.column(pl.Series("x", values, pl.Float64))
    assert (column.types.integral, column.types.fractional) == types
    assert column.inferred_type == kind
