from __future__ import annotations

import polars as pl
import pytest

from monitoring.bias.choice import continuous, look, of_facet, of_outcome
from monitoring.bias.settings import BiasRefused, Facet

AGES = [10.0, 20, 30, 40, 50, 60, 70, 80, 90, 15, 25, 35]


@pytest.mark.parametrize(
    ("values", "given", "clarify", "exact"),
    [
        ([0, 1] * 6, 1, True, False),
        ([0, 1] * 30, 1, False, False),
        ([0, 1, 2] * 4, 1, True, True),
        ([0, 1, 2] * 4, 2, False, False),
        ([0.0, 1.0] * 30, 1, True, False),
        (["0", "1"] * 6, 1, True, False),
        (["0.5", "1.5"] * 30, 1, False, False),
        (["a", "b", "c"], 1, False, False),
        ([True, False], 1, False, False),
        (AGES, 1, True, True),
        ([None, None], 0, False, False),
    ],
)
def test_the_type_rule_and_its_trap(values, given, clarify, exact) -> None:
    seen = look(pl.DataFrame({"x": values}), "x")
    assert continuous(seen, given, "clarify") is clarify
    assert continuous(seen, given, "exact") is exact


def test_a_categorical_column_is_never_a_number() -> None:
    frame = pl.DataFrame({"x": pl.Series(["1", "2", "3"], dtype=pl.Categorical)})
    assert not continuous(look(frame, "x"), 1, "clarify")


@pytest.mark.parametrize(
    ("values", "facet", "title", "chosen"),
    [
        (AGES, Facet("x", threshold=40.0), "(40.0, 90.0]", 5),
        (AGES, Facet("x", (40,)), "(40.0, 90.0]", 5),
        (AGES, Facet("x", threshold=90.0), "", 0),
        ([3, 1, 2] * 4, Facet("x", (1,)), "(1, 3]", 8),
        ([3, 1, 2] * 40, Facet("x", (1,)), "1", 40),
        (list("abcabc"), Facet("x", ("a", "b")), "a,b", 4),
    ],
)
def test_what_clarify_takes_as_the_group(values, facet, title, chosen) -> None:
    frame = pl.DataFrame({"x": values})
    choice = of_facet(frame, facet, "clarify")
    assert choice.title(float(max(values)) if choice.threshold is not None else None) == title
    assert frame.select(choice.chosen().sum()).item() == chosen


def test_in_exact_mode_values_are_values() -> None:
    frame = pl.DataFrame({"x": AGES})
    choice = of_facet(frame, Facet("x", (40,)), "exact")
    assert frame.select(choice.chosen().sum()).item() == 1


@pytest.mark.parametrize(
    ("values", "favourable"),
    [
        ([0, 1], (1,)),
        ([0.0, 1.0], (1,)),
        ([False, True], ("1",)),
        (["0", "1"], (1.0,)),
        (["false", "true"], (True,)),
        (["no", "yes"], ("yes",)),
        (["0.0", "1.0"], (1,)),
    ],
)
def test_a_label_is_the_same_however_it_is_written(values, favourable) -> None:
    frame = pl.DataFrame({"y": values})
    choice = of_outcome(look(frame, "y"), favourable, "exact")
    assert frame.select(choice.chosen())["y"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("frame", "facet", "sentence"),
    [
        ({"x": AGES}, Facet("x"), "Threshold values must be provided for continuous features"),
        ({"x": AGES}, Facet("x", ("a",)), "must be a single numeric threshold for continuous data"),
        ({"x": list("abc")}, Facet("x", threshold=1.0), "give values instead of a threshold"),
        ({"x": [[1], [2]]}, Facet("x"), "give a column of numbers, texts or truth values"),
        ({"x": AGES}, Facet("z"), "there is no column 'z'; the columns are x"),
    ],
)
def test_what_cannot_be_a_facet(frame, facet, sentence) -> None:
    with pytest.raises(BiasRefused, match=sentence):
        of_facet(pl.DataFrame(frame), facet, "clarify")


@pytest.mark.parametrize(
    ("text", "facet"),
    [
        ("sex", Facet("sex")),
        ("sex=F", Facet("sex", ("F",))),
        ("sex=F, X", Facet("sex", ("F", "X"))),
        ("age>40", Facet("age", threshold=40.0)),
    ],
)
def test_facets_as_people_write_them(text, facet) -> None:
    assert Facet.parse(text) == facet


@pytest.mark.parametrize("text", ["", ">4", "age>old"])
def test_what_is_no_facet(text) -> None:
    with pytest.raises(BiasRefused, match="write for example"):
        Facet.parse(text)
