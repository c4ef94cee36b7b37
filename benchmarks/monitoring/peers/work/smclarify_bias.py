"""smclarify: pre- and post-training report of each of three facets, without the flip test."""

from __future__ import annotations

from typing import Any

import pandas as pd
from smclarify.bias.report import FacetColumn, LabelColumn, StageType, bias_report
from timing import Timing, figures

AFTER = ["DPPL", "DI", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD", "CDDPL", "TE", "GE"]
FACETS = (FacetColumn("sex"), FacetColumn("origin"), FacetColumn("age", [40]))


def main() -> None:
    timing = Timing()
    people = pd.read_parquet(timing.folder / "people.parquet")
    found: dict[str, list[Any]] = {}
    with timing.part("window"):
        label = LabelColumn("label", people["label"], [1])
        predicted = LabelColumn("predicted", people["predicted"], [1])
        for facet in FACETS:
            more = {"group_variable": people["group"]}
            before = bias_report(people, facet, label, StageType.PRE_TRAINING, metrics=["all"], **more)
            after = bias_report(
                people, facet, label, StageType.POST_TRAINING, predicted, metrics=AFTER, **more
            )
            found[facet.name] = [*before, *after]
    timing.tell(figures=figures(found))


if __name__ == "__main__":
    main()
