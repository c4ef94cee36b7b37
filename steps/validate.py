"""Hold the processed table against the project's Great Expectations suite.

A check that failed says something about the data; a check that could not run says something about the suite.
Only the first is a verdict, the second stops the build whatever its severity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps import validation_page
from steps.errors import ValidationBroken
from steps.process import TABLE

if TYPE_CHECKING:
    import polars as pl

REPORT, PAGE = "validation.json", "validation.html"
_POSITION = "seaway_position"
_SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation and what the data said to it."""

    expectation: str
    """For example `expect_column_values_to_be_between`."""
    column: str
    """Empty for expectations about the whole table."""
    expected: str
    severity: str
    passed: bool
    observed: str
    """What was seen, in words."""
    unexpected: int | None = None
    """Rows that do not meet it, where rows can be counted."""


def run(processed: Path, suite_file: Path, fail_on: str, out: Path) -> dict[str, Any]:
    """Check `table.parquet` of a folder; write `validation.json` and the page `validation.html`.

    Args:
        processed: folder of the process step.
        suite_file: `{"name", "expectations": [{"type", "kwargs", "severity"}]}`.
        fail_on: lowest severity whose failure counts against the build.
        out: folder to write to.

    Returns:
        `suite`, `passed`, `rows`, `fail_on`, `checks` (all) and `failures` (the checks that failed).

    Raises:
        ValidationBroken: the suite cannot be read, or one of its expectations cannot be checked.
    """
    import polars as pl

    suite = read_suite(suite_file)
    table = pl.read_parquet(processed / TABLE)
    checks = check(table, suite)
    counted = _SEVERITIES[_SEVERITIES.index(fail_on) :]
    report = {
        "suite": suite["name"],
        "passed": all(one.passed or one.severity not in counted for one in checks),
        "rows": table.height,
        "fail_on": fail_on,
        "checks": [asdict(one) for one in checks],
        "failures": [asdict(one) for one in checks if not one.passed],
    }
    (out / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    (out / PAGE).write_text(validation_page.render(report))
    return report


def read_suite(file: Path) -> dict[str, Any]:
    """The suite as plain data.

    Raises:
        ValidationBroken: it is missing or has another shape.
    """
    try:
        suite = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValidationBroken(
            f"validate.suite: there is no {file.name}; write one beside the project file"
        ) from None
    except ValueError as error:
        raise ValidationBroken(f"validate.suite: {file.name} is not JSON: {error}") from None
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise ValidationBroken(f'validate.suite: {file.name} must be {{"name": ..., "expectations": [...]}}')
    for position, one in enumerate(suite["expectations"]):
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            raise ValidationBroken(
                f"validate.suite: expectations[{position}] of {file.name} has no type; add one"
            )
        if one.get("severity", "critical") not in _SEVERITIES:
            raise ValidationBroken(
                f"validate.suite: expectations[{position}].severity must be one of {', '.join(_SEVERITIES)}"
            )
    return {"name": suite.get("name") or file.stem, "expectations": suite["expectations"]}


def check(table: pl.DataFrame, suite: Mapping[str, Any]) -> tuple[Check, ...]:
    """Every expectation of the suite against the table, in the suite's order.

    Raises:
        ValidationBroken: an expectation is unknown, has wrong arguments, or names a column that is not there.
    """
    _check_columns(table, suite)
    gx = _great_expectations()
    from great_expectations.core.expectation_suite import ExpectationSuite

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    whole = context.data_sources.add_pandas("memory").add_dataframe_asset("table")
    batch = whole.add_batch_definition_whole_dataframe("all").get_batch(
        batch_parameters={"dataframe": table.to_pandas()}
    )
    try:
        found = batch.validate(ExpectationSuite(**_numbered(suite)), result_format="SUMMARY").results
    except Exception as error:
        raise ValidationBroken(f"validate.suite: the suite cannot be used: {_first_line(error)}") from error
    if broken := [told for one in found if (told := _exception(one.exception_info))]:
        raise ValidationBroken(
            f"validate.suite: {len(broken)} expectations could not be checked: {broken[0]}"
        )
    by_position = {one.expectation_config.meta[_POSITION]: one for one in found}
    for position, one in enumerate(suite["expectations"]):
        if position not in by_position:
            raise ValidationBroken(
                f"validate.suite: {one['type']} does not exist or does not take these arguments; "
                "correct the suite"
            )
    return tuple(_check(by_position[position]) for position in sorted(by_position))


def _numbered(suite: Mapping[str, Any]) -> dict[str, Any]:
    """The suite with every expectation's position in its notes.

    Great Expectations answers in an order of its own and leaves out, with no more than a log line, what it
    does not know.
    """
    numbered = [
        {**one, "meta": {**(one.get("meta") or {}), _POSITION: position}}
        for position, one in enumerate(suite["expectations"])
    ]
    return {**suite, "expectations": numbered}


def draft_suite(table: pl.DataFrame, name: str) -> dict[str, Any]:
    """A first suite from what a table looks like, for its owner to tighten.

    Columns must exist (critical); columns without gaps must stay so (critical); numbers stay within twice
    their range and texts within the values seen, when these are few (warning).
    """
    import polars as pl

    made: list[dict[str, Any]] = []

    def expect(kind: str, severity: str, **kwargs: Any) -> None:
        made.append({"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity})

    expect("table_row_count_to_be_between", "critical", min_value=max(1, table.height // 10))
    for column, dtype in table.schema.items():
        expect("column_to_exist", "critical", column=column)
        values = table[column]
        if values.null_count() == 0:
            expect("column_values_to_not_be_null", "critical", column=column)
        if dtype.is_numeric() and values.null_count() < table.height:
            low, high = float(str(values.min())), float(str(values.max()))
            room = (high - low) / 2
            expect(
                "column_values_to_be_between",
                "warning",
                column=column,
                min_value=low - room,
                max_value=high + room,
            )
        if dtype == pl.String and values.n_unique() <= 50:
            expect(
                "column_values_to_be_in_set",
                "warning",
                column=column,
                value_set=sorted(values.drop_nulls().unique()),
                mostly=0.99,
            )
    return {"name": name, "expectations": made}


def _great_expectations() -> Any:
    """The library, with its usage statistics switched off before the import reads the setting."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def _check_columns(table: pl.DataFrame, suite: Mapping[str, Any]) -> None:
    """Columns that expectations look into must exist; whether one exists may itself be the expectation."""
    lacking = {
        str(column)
        for one in suite["expectations"]
        if one["type"] != "expect_column_to_exist"
        for key, column in one.get("kwargs", {}).items()
        if key in {"column", "column_A", "column_B"} and column not in table.columns
    }
    if lacking:
        raise ValidationBroken(
            f"validate.suite: the table has no column {', '.join(sorted(lacking))}; correct the suite "
            "or add it in process.function"
        )


def _exception(info: Mapping[str, Any] | None) -> str:
    """What went wrong while checking; Great Expectations nests it by metric."""
    if not info:
        return ""
    if info.get("raised_exception"):
        return str(info.get("exception_message") or "unknown error").strip().splitlines()[0]
    nested = (value for value in info.values() if isinstance(value, Mapping))
    return next((told for value in nested if (told := _exception(value))), "")


def _check(found: Any) -> Check:
    config = found.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key not in {"batch_id", "column"}}
    result = found.result or {}
    return Check(
        expectation=config.type,
        column=str(config.kwargs.get("column", "")),
        expected=", ".join(f"{key} {_shown(value)}" for key, value in kwargs.items() if value is not None),
        severity=str(getattr(config.severity, "value", config.severity) or "critical"),
        passed=bool(found.success),
        observed=_observed(result),
        unexpected=None if result.get("unexpected_count") is None else int(result["unexpected_count"]),
    )


def _observed(result: Mapping[str, Any]) -> str:
    if result.get("unexpected_count"):
        share = float(result.get("unexpected_percent") or 0)
        examples = list(dict.fromkeys(map(_shown, result.get("partial_unexpected_list") or ())))[:5]
        shown = f", such as {', '.join(examples)}" if any(one != "None" for one in examples) else ""
        return f"{int(result['unexpected_count'])} rows ({share:.3g}%) do not meet it{shown}"
    if "observed_value" in result:
        return f"observed {_shown(result['observed_value'])}"
    if result.get("element_count"):
        return f"all {int(result['element_count'])} rows meet it"
    return ""


def _shown(value: Any) -> str:
    value = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
