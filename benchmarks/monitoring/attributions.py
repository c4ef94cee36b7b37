"""Global attributions of a boosted classifier of flights: TreeSHAP, batched KernelSHAP, and Clarify's way.

    python -m benchmarks.monitoring.attributions [--rows 1000] [--clarify-rows 20] [--json]

The model is that of the flights example: 13 numbers with gaps, 3 texts behind an ordinal encoder, 80 rounds of
histogram gradient boosting; the data are drawn, so that nothing is fetched. `clarify` is the library shap's
KernelExplainer with Clarify's settings, one baseline row and min(2 M + 2048, 2^M - 2) coalitions, row after
row; to its favour it asks the bare trees in this process, where Clarify asks an endpoint. Exit status 1 when TreeSHAP differs from the library on the bare trees by more than
1e-6, or is not 5 times as quick as Clarify's way.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks import machine
from serving import package
from steps.attributions import Model, Wish, local
from steps.pack import pack

NUMBERS = [
    *("dep_delay", "distance", "weekday", "dep_minute", "planned_minutes", "temp", "humid", "wind_dir"),
    *("wind_speed", "wind_gust", "precip", "pressure", "visib"),
]
TEXTS = ["carrier", "origin", "dest"]
GOAL, CLOSE = 5.0, 1e-6


def flights(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(seed)
    table = pd.DataFrame({name: draw.normal(size=rows).astype(np.float32) for name in NUMBERS}).astype(float)
    table["dep_delay"] = draw.exponential(20, rows).round() - 8
    table["distance"] = draw.integers(90, 2600, rows).astype(float)
    table.loc[draw.random(rows) < 0.7, "wind_gust"] = np.nan
    for name, count in (("carrier", 14), ("origin", 3), ("dest", 90)):
        table[name] = draw.choice([f"{name[0]}{n:02}" for n in range(count)], rows)
    late = table.dep_delay + 4 * table.temp + 5 * (table.carrier < "c04") - 0.002 * table.distance
    return table, (late + draw.normal(0, 10, rows) > 15).to_numpy()


def trained(table: pd.DataFrame, late: np.ndarray) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("texts", encoder, TEXTS), ("numbers", "passthrough", NUMBERS)])
    trees = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=100, l2_regularization=1.0, random_state=7
    )
    return Pipeline([("columns", columns), ("model", trees)]).fit(table, late)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, and those of a processor, which do not count what others do on the machine."""
    began, used = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - began, time.process_time() - used, found


def frame(columns: Any) -> pd.DataFrame:
    return pd.DataFrame({name: values[:, 0] for name, values in columns.items()})


def bare(pipeline: Any, background: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """The library on the trees alone, by input."""
    import shap

    before, trees = pipeline[:-1], pipeline[-1]
    explainer = shap.TreeExplainer(trees, before.transform(background).astype(float))
    found = np.asarray(explainer.shap_values(before.transform(rows).astype(float), check_additivity=False))
    order = [*TEXTS, *NUMBERS]
    return found[:, [order.index(name) for name in rows.columns]]


def clarify(pipeline: Any, background: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """KernelExplainer as Clarify sets it up, on the trees without the pipeline and with no selection of features."""
    import shap

    before, trees = pipeline[:-1], pipeline[-1]

    def answer(table: np.ndarray) -> np.ndarray:
        odds: np.ndarray = trees.decision_function(table)
        return odds

    explainer = shap.KernelExplainer(answer, before.transform(background).astype(float))
    samples = min(2 * rows.shape[1] + 2048, 2 ** rows.shape[1] - 2)
    encoded = before.transform(rows).astype(float)
    found = [explainer.shap_values(row, nsamples=samples, l1_reg=False, silent=True) for row in encoded]
    order = [*TEXTS, *NUMBERS]
    return np.array(found)[:, [order.index(name) for name in rows.columns]]


def main() -> int:
    parser = machine.options(__doc__ or "")
    parser.add_argument("--rows", type=int, default=1000, help="rows that our ways explain")
    parser.add_argument("--clarify-rows", type=int, default=20, help="rows that Clarify's way explains")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table, late = flights(20_000, 1)
    pipeline = trained(table, late)
    live, _ = flights(options.rows, 2)
    with tempfile.TemporaryDirectory() as name:
        made = pack(
            pipeline,
            live,
            name="late-arrivals",
            task="binary",
            features=list(table.columns),
            trained_on=table,
            folder=Path(name),
        )
        model = Model.load(package.unpack(made.archive, Path(name) / "unpacked", made.digest))
        result, good = measured(model, pipeline, live, options)
    result["machine"] = machine.facts() | {
        name: metadata.version(name) for name in ("shap", "numpy", "polars")
    }
    machine.show(result, [result["ways"]], as_json=options.json)
    if not options.json:
        print(f"\nlargest difference to the library on the bare trees: {result['difference']:.2g}")
    return 0 if good else 1


def measured(model: Model, pipeline: Any, live: pd.DataFrame, options: Any) -> tuple[dict[str, Any], bool]:
    rows = pl.from_pandas(live)
    background, few = frame(model.background("typical")), live.head(options.clarify_rows)
    exact = bare(pipeline, background, live)
    ways = []

    def tell(way: str, seconds: float, used: float, values: np.ndarray) -> None:
        pace = used / len(values)
        error = float(np.abs(values[: len(few)] - exact[: len(few)]).max())
        first = ways[0]["CPU s/row"] if ways else pace
        ways.append(
            {
                "way": way,
                "rows": len(values),
                "seconds": seconds,
                "CPU s/row": pace,
                "times clarify": first / pace,
            }
        )
        ways[-1]["worst error"] = f"{error:.1e}"

    with threadpool_limits(1):  # ours use one thread too; and scikit-learn's get in each other's way
        tell("clarify (shap.KernelExplainer)", *timed(lambda: clarify(pipeline, background, few)))
    model.tree_explainer("log_odds", "typical")  # loaded once, as by a server
    difference = 0.0
    for method in ("tree", "kernel"):
        wish = Wish(options.rows, method, "log_odds")
        seconds, used, found = timed(lambda wish=wish: local(model, rows, wish))
        tell(f"seaway {method}", seconds, used, found.values[:, :, 0])
        if method == "tree":
            difference = float(np.abs(found.values[:, :, 0] - exact).max())
    for way in ways:
        way["CPU s/row"] = f"{way['CPU s/row']:.5f}"
    good = difference <= CLOSE and ways[1]["times clarify"] >= GOAL
    return {"ways": ways, "difference": difference}, good


if __name__ == "__main__":
    sys.exit(main())
