from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from monitoring.bias.analysis import analyse
from monitoring.bias.catalogue import ALL, BY_NAME, POST, PRE
from monitoring.bias.metrics import Side
from monitoring.bias.settings import BiasConfig, Facet, Mode

ROWS = pl.DataFrame(
    {
        "facet": list("MFFMFMFFMMFF"),
        "y": [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0],
        "said": [1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0],
        "group": [1, 1, 2, 2, 1, 2, 2, 1, 1, 2, 1, 2],
        "x1": [0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0],
        "x2": [3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2],
    }
)
GOLDEN = {
    "CI": (-0.16666666666666666, 0.16666666666666666),
    "DPL": (-0.028571428571428525, 0.028571428571428525),
    "KL": (0.001676949906878701, 0.00168827968330372),
    "JS": (0.00042058755900406877, 0.00042058755900406877),
    "LP": (0.0404061017820884, 0.0404061017820884),
    "TVD": (0.028571428571428553, 0.028571428571428553),
    "KS": (0.02857142857142858, 0.02857142857142858),
    "CDDL": (0.0, 0.0),
    "DPPL": (-0.17142857142857137, 0.17142857142857137),
    "DI": (1.4285714285714284, 0.7),
    "DCA": (0.25, -0.25),
    "DCR": (0.3333333333333333, -0.3333333333333333),
    "RD": (-0.6666666666666666, 0.6666666666666666),
    "SD": (0.16666666666666669, -0.16666666666666669),
    "DAR": (-0.5, 0.5),
    "DRR": (0.3333333333333333, -0.3333333333333333),
    "AD": (-0.3714285714285714, 0.3714285714285714),
    "TE": (-0.5, 0.5),
    "CDDPL": (-0.16666666666666666, 0.16666666666666666),
    "FT": (0.42857142857142855, -0.2),
    "GE": (0.24556213017751485, 0.24556213017751485),
}


def config(**more) -> BiasConfig:
    settings = {
        "favourable": ("yes",),
        "facets": (Facet("facet"),),
        "label": "y",
        "predicted": "said",
        "group": "group",
        "features": ("x1", "x2"),
        "resamples": 0,
        **more,
    }
    return BiasConfig(**settings)


def in_words(rows: pl.DataFrame) -> pl.DataFrame:
    """Labels as texts, which no type rule takes for numbers."""
    return rows.with_columns(
        pl.when(pl.col(name) == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias(name)
        for name in ("y", "said")
    )


def figures(rows: pl.DataFrame, mode: Mode, **more) -> dict[tuple[str, str], float | None]:
    details = analyse(in_words(rows), config(**more), None, mode=mode, seed=1).details
    return {(one.metric, one.facet_value): one.value for one in details.measures}


@pytest.mark.parametrize("mode", ["clarify", "exact"])
@pytest.mark.parametrize(("facet", "column"), [("F", 0), ("M", 1)])
def test_golden_vector(mode: Mode, facet: str, column: int) -> None:
    found = figures(ROWS, mode)
    for name, values in GOLDEN.items():
        sign = -1 if name == "FT" and mode == "exact" else 1
        assert found[name, facet] == pytest.approx(sign * values[column], abs=1e-12), name


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("DI", [0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1], math.inf),
        ("DRR", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1], 0.5),
    ],
)
def test_golden_vectors_with_an_empty_rate(name: str, said: list[int], expected: float) -> None:
    found = figures(ROWS.with_columns(said=pl.Series(said)), "clarify")
    assert found[name, "F"] == expected


def side(tn: int, fp: int, fn: int, tp: int) -> Side:
    return Side(np.array([[[tn, fp], [fn, tp]]]))


def value(name: str, d: Side, a: Side, mode: Mode) -> float:
    formula = BY_NAME[name].formula
    assert formula
    return float(formula(d, a, mode))


@pytest.mark.parametrize(
    ("name", "clarify", "exact"),
    [
        ("KL", -0.3662040962227032, math.inf),
        ("TVD", 1 / 3, 2 / 3),
        ("LP", 2 / 3, math.sqrt(8) / 3),
        ("KS", 2 / 3, 2 / 3),
        ("JS", (math.log(1.5) - math.log(2) / 3) / 2, (math.log(1.5) + math.log(2) / 3) / 2),
    ],
)
def test_clarify_leaves_out_labels_that_one_side_does_not_have(name, clarify, exact) -> None:
    d, a = side(0, 0, 0, 3), side(2, 0, 0, 1)
    assert value(name, d, a, "clarify") == pytest.approx(clarify, abs=1e-12)
    assert value(name, d, a, "exact") == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("name", ["DCA", "TE"])
def test_the_difference_of_two_infinities(name: str) -> None:
    d, a = side(1, 0, 2, 0), side(1, 0, 3, 0)
    assert value(name, d, a, "clarify") == 0
    assert math.isnan(value(name, d, a, "exact"))


def test_rates_of_nothing() -> None:
    d, a = side(2, 1, 0, 0), side(1, 1, 1, 1)
    assert value("RD", d, a, "clarify") == 0.5
    assert math.isnan(value("RD", d, a, "exact"))
    assert value("TE", side(1, 0, 1, 0), a, "clarify") == math.inf


@pytest.mark.parametrize(
    ("d", "a", "expected"), [((0, 0, 3, 1), (0, 0, 0, 0), 1.5), ((2, 0, 0, 2), (3, 0, 0, 3), 0.0)]
)
def test_generalized_entropy(d, a, expected) -> None:
    assert value("GE", side(*d), side(*a), "clarify") == pytest.approx(expected, abs=1e-12)


EMPTY, SOME = side(0, 0, 0, 0), side(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "d", "a", "sentence"),
    [
        ("CI", EMPTY, SOME, "CI: facet set is empty. Check that x[facet] has non-zero length."),
        ("CI", SOME, EMPTY, "CI: negated facet set is empty. Check that x[~facet] has non-zero length."),
        ("KL", EMPTY, SOME, "No instance of common facet found, dataset may be too small"),
        ("KL", side(0, 0, 1, 1), side(1, 1, 0, 0), "No instance of common facet found, dataset may be too small"),
        ("CDDL", side(1, 1, 0, 0), side(1, 1, 0, 0), "No positive labels in set"),
        ("CDDPL", side(0, 1, 0, 1), side(0, 1, 0, 1), "No negative labels in set"),
        ("RD", EMPTY, SOME, "DLA: Facet set is empty"),
        ("DI", SOME, EMPTY, "Negated facet set is empty"),
        ("GE", side(0, 0, 2, 0), side(0, 0, 1, 0),
         "All predicted labels are false negatives. There should be at least one prediction that is not false negative."),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_in_clarify_s_words(name, d, a, sentence) -> None:
    assert BY_NAME[name].trouble(d, a, "clarify") == sentence


def test_many_tables_at_a_time() -> None:
    rng = np.random.default_rng(3)
    d, a = rng.integers(0, 9, (50, 3, 2, 2)), rng.integers(0, 9, (50, 3, 2, 2))
    for metric in ALL:
        if metric.formula:
            together = metric.formula(Side(d), Side(a), "exact")
            single = [metric.formula(Side(d[n]), Side(a[n]), "exact") for n in range(50)]
            np.testing.assert_array_equal(together, np.array(single))


def test_names_and_order() -> None:
    pre = [metric.name for metric in ALL if metric.stage == PRE]
    post = [metric.name for metric in ALL if metric.stage == POST]
    assert (len(pre), len(post)) == (8, 13)
    assert pre == sorted(pre)
    assert post == sorted(post)
    assert BY_NAME["KL"].description == "Kullback-Liebler Divergence (KL)"
    assert all(metric.description.endswith(f"({metric.name})") for metric in ALL)
