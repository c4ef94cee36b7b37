"""The history of monitors for other tools: CSV, Parquet, or event files of TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from monitoring.findings import Violation
from steps.errors import DataRefused
from steps.pages.view import Point

Format = Literal["csv", "parquet", "tensorboard"]
FORMATS: tuple[str, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of one window."""

    at: datetime
    """End of the window, UTC."""
    schedule: str
    kind: str
    status: str
    rows: int = 0
    variant: str = ""
    version: str = ""
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()


def export(history: Sequence[Point], judged: Sequence[Judged], out: Path, form: str) -> tuple[Path, ...]:
    """Write figures, executions and violations; files of the same names are replaced.

    Args:
        history: figures over time, in any order.
        judged: windows and what was said of them.
        out: folder, made if need be.
        form: `csv` and `parquet` leave the files `figures`, `executions` and `violations`; `tensorboard` one
            folder of events for each schedule, named after it.

    Raises:
        DataRefused: the format is unknown, or the package that it needs is missing.
    """
    if form not in FORMATS:
        raise DataRefused(f"there is no format {form}; take {', '.join(FORMATS)}")
    out.mkdir(parents=True, exist_ok=True)
    if form == "tensorboard":
        return _events(history, judged, out)
    tables = {
        "figures": [_figure(one) for one in sorted(history, key=_order)],
        "executions": [_execution(one) for one in sorted(judged, key=lambda one: (one.at, one.schedule))],
        "violations": [
            row for one in sorted(judged, key=lambda one: (one.at, one.schedule)) for row in _violations(one)
        ],
    }
    return tuple(_table(out / f"{name}.{form}", rows, _SCHEMAS[name]) for name, rows in tables.items())


def _order(point: Point) -> tuple[Any, ...]:
    return point.at, point.schedule, point.name, point.dimensions, point.estimated, point.look


def _figure(point: Point) -> dict[str, Any]:
    return {
        "at": point.at,
        "schedule": point.schedule,
        "variant": point.variant,
        "name": point.name,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "n": point.n,
        "estimated": point.estimated,
        "dimensions": json.dumps(dict(point.dimensions), ensure_ascii=False),
        "look": point.look,
    }


def _execution(judged: Judged) -> dict[str, Any]:
    return {
        "at": judged.at,
        "schedule": judged.schedule,
        "kind": judged.kind,
        "status": judged.status,
        "variant": judged.variant,
        "version": judged.version,
        "rows": judged.rows,
        "violations": len(judged.violations),
        "notes": json.dumps(judged.notes, ensure_ascii=False),
    }


def _violations(judged: Judged) -> Iterable[dict[str, Any]]:
    for one in judged.violations:
        yield {
            "at": judged.at,
            "schedule": judged.schedule,
            "kind": judged.kind,
            "variant": judged.variant,
            "version": judged.version,
            "check": one.check,
            "subject": json.dumps(dict(one.subject), ensure_ascii=False),
            "description": one.description,
        }


_SCHEMAS: dict[str, tuple[str, ...]] = {
    "figures": ("schedule", "variant", "name", "dimensions"),
    "executions": ("schedule", "kind", "status", "variant", "version", "notes"),
    "violations": ("schedule", "kind", "variant", "version", "check", "subject", "description"),
}
"""Columns of text by table."""
_NUMBERS = {"figures": ("value", "low", "high"), "executions": (), "violations": ()}
_COUNTS = {"figures": ("n", "look"), "executions": ("rows", "violations"), "violations": ()}


def _table(file: Path, rows: list[dict[str, Any]], texts: Sequence[str]) -> Path:
    """The table, whole or not at all; one without rows has its columns all the same."""
    import polars as pl

    kinds: dict[str, Any] = {
        "at": pl.Datetime("us", "UTC"),
        **dict.fromkeys(texts, pl.String),
        **dict.fromkeys(_NUMBERS[file.stem], pl.Float64),
        **dict.fromkeys(_COUNTS[file.stem], pl.Int64),
        **({"estimated": pl.Boolean} if file.stem == "figures" else {}),
    }
    frame = pl.DataFrame(rows, schema=kinds) if rows else pl.DataFrame(schema=kinds)
    new = file.with_name(f".{file.name}.new")
    if file.suffix == ".csv":
        frame.write_csv(new, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        frame.write_parquet(new)
    new.replace(file)
    return file


def _events(history: Sequence[Point], judged: Sequence[Judged], out: Path) -> tuple[Path, ...]:
    """Scalars by schedule; a step is a minute since the earliest window."""
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]  # it ships no types
    except ModuleNotFoundError as error:
        raise DataRefused(
            "event files of TensorBoard need the package tensorboardX; install the extra `tensorboard`"
        ) from error
    seen = [(one.at, one.schedule) for one in history] + [(one.at, one.schedule) for one in judged]
    first = min((at for at, _ in seen), default=None)
    made = []
    for schedule in sorted({schedule for _, schedule in seen}):
        folder = out / (schedule or "monitor")
        _clear(folder)
        with SummaryWriter(str(folder)) as writer:
            for tag, value, at in _scalars(schedule, history, judged):
                step = int((at - first).total_seconds() // 60) if first else 0
                writer.add_scalar(tag, value, global_step=step, walltime=at.timestamp())
        made += sorted(folder.glob(f"{_EVENTS}*"))
    return tuple(made)


_EVENTS = "events.out.tfevents."


def _clear(folder: Path) -> None:
    """Remove the events of an earlier export; TensorBoard would show both."""
    for old in folder.glob(f"{_EVENTS}*"):
        old.unlink()


def _scalars(
    schedule: str, history: Sequence[Point], judged: Sequence[Judged]
) -> Iterable[tuple[str, float, datetime]]:
    for one in sorted((one for one in judged if one.schedule == schedule), key=lambda one: one.at):
        yield "window/violations", len(one.violations), one.at
        yield "window/rows", one.rows, one.at
    for point in sorted((point for point in history if point.schedule == schedule), key=_order):
        kind = "estimated" if point.estimated else "figure"
        tag = "/".join([kind, _tag(point.name), *(_tag(text) for _, text in point.dimensions)])
        for name, value in ((tag, point.value), (f"{tag}/low", point.low), (f"{tag}/high", point.high)):
            if value is not None and math.isfinite(value):
                yield name, value, point.at


def _tag(text: str) -> str:
    """TensorBoard takes letters, digits and a few signs."""
    return (
        "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-.") else "_" for sign in text) or "_"
    )
