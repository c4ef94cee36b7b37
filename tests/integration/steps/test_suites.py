"""A suite made of constraints, judged by Great Expectations itself, says what the constraints say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitoring.drift import checks
from monitoring.drift.expectations import BETWEEN, COLUMNS, IN_SET, NOT_NULL, TYPES
from monitoring.profiles import scan
from steps import baseline_files, suites, validate

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing|great_expectations|altair"),
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

ROWS = 2000
ROW = pl.int_range(ROWS)
TABLE = pl.DataFrame({"n": range(ROWS)}).select(
    age=18 + ROW % 70,
    income=pl.lit(3e4) + ROW.sin() * 100,
    city=pl.when(ROW % 3 == 0).then(pl.lit("a")).otherwise(pl.lit("b")),
    vip=ROW % 9 == 0,
    gap=pl.when(ROW % 7 == 0).then(ROW),
)
CASES: dict[str, tuple[pl.DataFrame, set[tuple[str | None, str]]]] = {
    "the same": (TABLE, set()),
    "whole numbers for fractions": (TABLE.with_columns(pl.col("income").cast(pl.Int64)), set()),
    "below zero": (TABLE.with_columns(pl.col("age") - 40), {("age", BETWEEN)}),
    "fractions for whole numbers": (TABLE.with_columns(pl.col("age") + 0.5), {("age", TYPES)}),
    "gaps": (TABLE.with_columns(age=pl.when(ROW > 9).then("age")), {("age", NOT_NULL)}),
    "gaps in truths": (TABLE.with_columns(vip=pl.when(ROW > 9).then("vip")), {("vip", NOT_NULL)}),
    "another text": (TABLE.with_columns(city=pl.lit("q")), {("city", IN_SET)}),
    "numbers for truths": (TABLE.with_columns(pl.col("vip").cast(pl.Int64)), {("vip", TYPES)}),
    "one more": (TABLE.with_columns(z=pl.lit(1)), {(None, COLUMNS)}),
}
OURS = {
    "data_type_check": TYPES,
    "completeness_check": NOT_NULL,
    "categorical_values_check": IN_SET,
    "is_non_negative_check": BETWEEN,
    "extra_column_check": COLUMNS,
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The constraints, and a function that has Great Expectations judge a frame of pandas."""
    gx = validate._great_expectations()
    from great_expectations.core.expectation_suite import ExpectationSuite

    place = tmp_path_factory.mktemp("suite")
    known = baseline_files.suggest(scan.profile(TABLE))
    baseline_files.write(known, place)
    document = suites.export(place, place / "suite.json").document
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("table")
    whole = asset.add_batch_definition_whole_dataframe("all")

    def judge(frame: Any) -> set[tuple[str | None, str]]:
        batch = whole.get_batch(batch_parameters={"dataframe": frame})
        found = batch.validate(ExpectationSuite(**document)).results
        configs = [one.expectation_config for one in found if not one.success]
        return {(config.kwargs.get("column"), config.type) for config in configs}

    return known.constraints, judge, place


@pytest.mark.parametrize("case", CASES)
def test_the_verdicts_are_the_same(judged: Any, case: str) -> None:
    constraints, judge, _ = judged
    frame, expected = CASES[case]
    violated = checks.violations(constraints, scan.profile(frame), ())
    told = {(dict(one.subject)["feature_name"], OURS[one.check]) for one in violated}
    assert {(None if kind == COLUMNS else name, kind) for name, kind in told} == expected
    assert judge(frame.to_pandas().convert_dtypes()) == expected
    plain = judge(frame.to_pandas())  # whole numbers with new gaps are fractions there, too
    assert plain >= expected
    assert bool(plain) == bool(expected)


def test_the_file_goes_back_and_a_build_can_use_it(judged: Any, tmp_path: Path) -> None:
    constraints, _, place = judged
    back = suites.take_in(place / "suite.json", place)
    assert back.unsaid == ()
    assert back.constraints.features == constraints.features
    suite = validate.read_suite(place / "suite.json")
    assert all(one.passed for one in validate.check(TABLE, suite))
