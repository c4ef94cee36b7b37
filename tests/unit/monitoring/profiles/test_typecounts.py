"""Types as Model Monitor's engine infers them."""

import polars as pl
import pytest

from monitoring.profiles import TypeCounts, scan

GOLDEN = {
    "Integral": ["1", "-1", "+ 1", " 1", "007"],
    "Fractional": ["1.0", "1e5", "1.5E-3", "-2.5e+10", "+1.25"],
    "Boolean": ["true", "false"],
    "String": ["1.", ".5", "True", "NaN", "inf", "", "1,000", "1 ", "  1", "1\n", "--1", "٣", "truefalse"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOLDEN.items() for text in texts])
@pytest.mark.parametrize("declared", [None, "numeric", "categorical"])
def test_golden(kind, text, declared) -> None:
    found = scan.column(pl.Series("x", [text, None]), declared)
    assert found.inferred_type == kind
    assert found.types.count(kind) == found.types.total == found.present == found.missing == 1


@pytest.mark.parametrize(
    ("counts", "inferred"),
    [
        (TypeCounts(), "Unknown"),
        (TypeCounts(integral=3), "Integral"),
        (TypeCounts(integral=3, fractional=1), "Fractional"),
        (TypeCounts(boolean=2), "Boolean"),
        (TypeCounts(boolean=2, integral=1), "String"),
        (TypeCounts(integral=99, string=1), "String"),
    ],
)
def test_of_a_column(counts, inferred) -> None:
    assert counts.inferred == inferred


def test_counts_add() -> None:
    assert TypeCounts(1, 2, 3, 4).merge(TypeCounts(10, 20, 30, 40)) == TypeCounts(11, 22, 33, 44)
    assert TypeCounts(1, 2, 3, 4).count("Unknown") == 0
