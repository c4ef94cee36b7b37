"""NannyML: univariate drift of one chunk, two methods per column; fitted to the reference, then calculated."""

from __future__ import annotations

import nannyml as nml
import pandas as pd
from timing import Timing, farthest

NUMBERS = ["kolmogorov_smirnov", "jensen_shannon"]
TEXTS = ["l_infinity", "jensen_shannon"]


def main() -> None:
    timing = Timing()
    reference, current = (pd.read_parquet(timing.folder / f"{n}.parquet") for n in ("reference", "current"))
    names = list(reference.columns)
    with timing.part("reference"):
        made = nml.UnivariateDriftCalculator(
            column_names=names, continuous_methods=NUMBERS, categorical_methods=TEXTS, chunk_number=1
        ).fit(reference)
    with timing.part("window"):
        found = made.calculate(current)
    table = found.filter(period="analysis").to_df()
    far = {one: float(table[one, NUMBERS[0], "value"].iloc[-1]) for one in names if one.startswith("n")}
    timing.tell(farthest=farthest(far))


if __name__ == "__main__":
    main()
