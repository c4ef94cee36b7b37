"""Great Expectations: presence, completeness, type or domain, and divergence of every column; only verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import great_expectations as gx
import pandas as pd
from timing import Timing

FAR = 0.1
BINS = 10


def main() -> None:
    timing = Timing()
    reference, current = (pd.read_parquet(timing.folder / f"{n}.parquet") for n in ("reference", "current"))
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("window")
    with timing.part("reference"):
        suite = gx.ExpectationSuite(name="reference")
        for name in reference.columns:
            for one in expectations(name, reference[name]):
                suite.add_expectation(one)
    validation = gx.ValidationDefinition(
        name="window", data=asset.add_batch_definition_whole_dataframe("all"), suite=context.suites.add(suite)
    )
    validation = context.validation_definitions.add(validation)
    with timing.part("window"):
        found = validation.run(batch_parameters={"dataframe": current}, result_format="BOOLEAN_ONLY")
    failed = {one.expectation_config.kwargs["column"] for one in found.results if not one.success}
    timing.tell(farthest=sorted(failed))


def expectations(name: str, column: pd.Series) -> Iterator[Any]:
    make = gx.expectations
    yield make.ExpectColumnToExist(column=name)
    yield make.ExpectColumnValuesToNotBeNull(column=name)
    diverges: dict[str, Any] = {"column": name, "threshold": FAR}
    if name.startswith("n"):
        edges = [float(edge) for edge in column.quantile([n / BINS for n in range(BINS + 1)])]
        held = {"tail_weight_holdout": 0.01, "internal_weight_holdout": 0.01}
        partition: dict[str, Any] = {"bins": edges, "weights": [1 / BINS] * BINS}
        yield make.ExpectColumnValuesToBeOfType(column=name, type_="float64")
        yield make.ExpectColumnKLDivergenceToBeLessThan(**diverges, **held, partition_object=partition)
    else:
        shares = column.value_counts(normalize=True)
        partition = {"values": list(shares.index), "weights": [float(share) for share in shares]}
        yield make.ExpectColumnValuesToBeInSet(column=name, value_set=sorted(shares.index))
        yield make.ExpectColumnKLDivergenceToBeLessThan(**diverges, partition_object=partition)


if __name__ == "__main__":
    main()
