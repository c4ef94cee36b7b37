"""Evidently: its drift preset, which reads reference and window each time, and its results as a dict."""

from __future__ import annotations

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
from timing import Timing, farthest


def main() -> None:
    timing = Timing()
    reference, current = (pd.read_parquet(timing.folder / f"{n}.parquet") for n in ("reference", "current"))
    with timing.part("window"):
        found = Report([DataDriftPreset()]).run(current, reference).dict()
    drifts = [one for one in found["metrics"] if "column" in one["config"]]
    timing.tell(farthest=farthest({one["config"]["column"]: float(one["value"]) for one in drifts}))


if __name__ == "__main__":
    main()
