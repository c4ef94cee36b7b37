"""Ours: every metric but the flip test for three facets, with intervals; Clarify's own figures are compared after."""

from __future__ import annotations

import numpy.random  # noqa: F401 - ours imports it where it needs it, the peers at their top
import polars as pl
from timing import Timing, figures

from monitoring.bias.analysis import analyse
from monitoring.bias.catalogue import ALL
from monitoring.bias.settings import BiasConfig, Facet


def main() -> None:
    timing = Timing()
    people = pl.read_parquet(timing.folder / "people.parquet")
    config = BiasConfig(
        favourable=(1,),
        facets=(Facet("sex"), Facet("origin"), Facet("age", threshold=40)),
        label="label",
        predicted="predicted",
        group="group",
        methods=tuple(metric.name for metric in ALL if metric.name != "FT"),
    )
    with timing.part("window"):
        analyse(people, config, None, seed=0)
    document = analyse(people, config, None, mode="clarify", seed=0).details.document()
    blocks = ("pre_training_bias_metrics", "post_training_bias_metrics")
    timing.tell(figures={k: v for block in blocks for k, v in figures(document[block]["facets"]).items()})


if __name__ == "__main__":
    main()
