"""A bias report of a million rows and three facets: all metrics, with intervals, and the flip test apart.

    python -m benchmarks.monitoring.bias [--rows 1000000] [--json]

Applicants have a sex (two values), an age (a threshold) and a region (four values, one report each), a district
as group variable, a label, a prediction, and six numeric features. `counting` is the one pass over the rows,
`figures` adds the metrics, `intervals` adds 1,000 resamples behind each, `flip test` adds the neighbours of at
most 10,000 rows on each side of each group. Best of the rounds.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from benchmarks import machine
from monitoring.bias.analysis import analyse
from monitoring.bias.catalogue import ALL
from monitoring.bias.counts import count
from monitoring.bias.facets import plan
from monitoring.bias.settings import BiasConfig, Facet

ROUNDS = 3
FEATURES = tuple(f"x{n}" for n in range(6))
CONFIG = BiasConfig(
    favourable=("yes",),
    facets=(Facet("sex", ("F",)), Facet("age", threshold=40.0), Facet("region")),
    label="paid",
    predicted="predicted",
    group="district",
    features=FEATURES,
)


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    facts, rows = machine.facts(), applicants(asked.rows)
    counted = tuple(metric.name for metric in ALL if metric.formula)
    without = replace(CONFIG, methods=counted)
    plain = replace(without, resamples=0)
    subjects: dict[str, Callable[[], Any]] = {
        "counting": lambda: count(rows, plan(rows, CONFIG, "exact")),
        "figures": lambda: analyse(rows, plain, None, mode="exact", seed=7),
        "intervals": lambda: analyse(rows, without, None, mode="exact", seed=7),
        "flip test": lambda: analyse(rows, CONFIG, None, mode="exact", seed=7),
    }
    found = [{"report": name, "rows": asked.rows, "seconds": _best(run)} for name, run in subjects.items()]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    peak = [{"peak memory, MiB": memory}]
    machine.show({"machine": facts, "seconds": found, "memory": peak}, [found, peak], as_json=asked.json)
    return 0


def applicants(rows: int, seed: int = 7) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, len(FEATURES)))
    female = random.random(rows) < 0.45
    score = features[:, 0] + 0.5 * features[:, 1] - 0.4 * female
    return pl.DataFrame(
        {
            "sex": np.where(female, "F", "M"),
            "age": random.uniform(18, 90, rows).round(1),
            "region": np.array(["north", "east", "south", "west"])[random.integers(0, 4, rows)],
            "district": np.array([f"d{n}" for n in range(10)])[random.integers(0, 10, rows)],
            "paid": np.where(score + random.normal(size=rows) > 0, "yes", "no"),
            "predicted": np.where(score > 0.1, "yes", "no"),
            **{name: features[:, place] for place, name in enumerate(FEATURES)},
        }
    )


def _best(run: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    sys.exit(main())
