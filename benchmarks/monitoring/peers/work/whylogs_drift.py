"""whylogs: the reference is logged once; the window is logged and scored against its view."""

from __future__ import annotations

import pandas as pd
import whylogs as why
from timing import Timing, farthest
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


def main() -> None:
    timing = Timing()
    reference, current = (pd.read_parquet(timing.folder / f"{n}.parquet") for n in ("reference", "current"))
    with timing.part("reference"):
        kept = why.log(reference).view()
    with timing.part("window"):
        view = why.log(current).view()
        scores = calculate_drift_scores(target_view=view, reference_view=kept, with_thresholds=True)
    far = {name: float(score["statistic"]) for name, score in scores.items() if score}
    timing.tell(farthest=farthest(far))


if __name__ == "__main__":
    main()
