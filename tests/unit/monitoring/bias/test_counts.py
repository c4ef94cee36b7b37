from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from monitoring.bias.analysis import analyse, of_counts
from monitoring.bias.counts import Counts, count, merge
from monitoring.bias.facets import plan
from monitoring.bias.settings import BiasConfig, Facet

CONFIG = BiasConfig(
    favourable=("yes",),
    facets=(Facet("sex"), Facet("age", threshold=40.0), Facet("place", ("x", "y"))),
    intersections=(("sex", "age"),),
    label="y",
    predicted="said",
    group="group",
    resamples=0,
    methods=("DPL", "AD", "CDDPL"),
)
row = st.fixed_dictionaries(
    {
        "sex": st.sampled_from(["F", "M", "X", None]),
        "age": st.sampled_from([20.0, 40.0, 41.0, 90.0, float("nan"), None]),
        "place": st.sampled_from(["x", "y", "z", None]),
        "y": st.sampled_from(["yes", "no", None]),
        "said": st.sampled_from(["yes", "no", None]),
        "group": st.sampled_from(["a", "b", None]),
    }
)
KINDS = {
    name: pl.Float64 if name == "age" else pl.String for name in ("sex", "age", "place", "y", "said", "group")
}


def counted(rows: list[dict]) -> Counts:
    frame = pl.DataFrame(rows, schema=KINDS)
    return count(frame, plan(frame, CONFIG, "exact"))


def plainly(one: Counts) -> object:
    """Counts without empty rows and columns, which a part may have and the whole may not."""
    cells = {
        (name, key, group, label, said): int(table.cells[k, g, label, said])
        for name, table in one.facets.items()
        for k, key in enumerate(table.keys)
        for g, group in enumerate(table.groups)
        for label in range(2)
        for said in range(3)
        if table.cells[k, g, label, said]
    }
    rest = {name: (table.dropped, table.highest, table.rows) for name, table in one.facets.items()}
    confusion = {pair: number for pair, number in one.confusion.items() if number}
    return cells, rest, one.rows, one.unlabelled, one.outcomes.tolist(), confusion


@given(st.lists(row, max_size=30), st.lists(row, max_size=30))
def test_parts_add_up_in_any_order(one: list[dict], other: list[dict]) -> None:
    whole = plainly(counted(one + other))
    assert plainly(merge(counted(one), counted(other))) == whole
    assert plainly(merge(counted(other), counted(one))) == whole


def frame() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    n = 400
    return pl.DataFrame(
        {
            "sex": rng.choice(["F", "M"], n),
            "age": rng.uniform(18, 90, n).round(),
            "place": rng.choice(["x", "y", "z"], n),
            "y": rng.choice(["yes", "no"], n),
            "said": rng.choice(["yes", "no"], n),
            "group": rng.choice(["a", "b"], n),
        }
    )


def test_a_report_of_merged_counts_is_that_of_the_rows() -> None:
    rows = frame()
    how = plan(rows, CONFIG, "exact")
    merged = merge(count(rows[:150], how), count(rows[150:], how))
    found = of_counts(merged, how, CONFIG, None, seed=1)
    assert found.documents == analyse(rows, CONFIG, None, seed=1).documents


def test_every_combination_of_facets_is_a_group() -> None:
    rows = frame()
    table = count(rows, plan(rows, CONFIG, "exact")).facets["sex & age"]
    assert table.keys == (None, "F & > 40", "M & > 40")
    older = rows.filter((pl.col("age") > 40) & (pl.col("sex") == "F"))
    assert table.cells[1].sum() == older.height


def test_without_predictions_nothing_is_answered() -> None:
    rows = frame().drop("said")
    counts = count(rows, plan(rows, replace(CONFIG, predicted=""), "exact"))
    assert counts.outcomes[:, :2].sum() == 0
    assert counts.outcomes.sum() == rows.height
