"""Where figures come from (cores, versions, load), and plain tables to show them in."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

PACKAGES = ("granian", "onnxruntime", "scikit-learn", "mlflow", "prefect")


def options(description: str) -> argparse.ArgumentParser:
    """The options all have. From here on SIGTERM ends the process like an error, so that servers are ended too."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def facts() -> dict[str, Any]:
    """The load is that of the minute before: above 1, somebody else used the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251 (the edge)
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def show(result: Mapping[str, Any], tables: Iterable[Sequence[Mapping[str, Any]]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    for rows in tables:
        print()
        print(table(rows))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    cells = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    )


def _text(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def percentile(values: Sequence[float], percent: int) -> float:
    return (
        statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]
    )
