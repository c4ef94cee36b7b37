"""Explanations as files, laid out as SageMaker Clarify leaves them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monitoring.explain import Dependence, clarify
from steps.attributions import Local

ANALYSIS, ROWS, BASELINE = "analysis.json", "explanations_shap/out.csv", "explanations_shap/baseline.csv"


def write(folder: Path, found: Local, dependences: Sequence[Dependence] = ()) -> dict[str, Path]:
    """Write `analysis.json`, attributions row by row and the baseline rows; returns the files by name.

    `out.csv` has one line for each explained row, in the order of the table that was given.

    Raises:
        steps.errors.DataRefused: no row has attributions that are finite.
    """
    summary = found.summary()
    labels = [one.label for one in summary.labels]
    background = {name: values[:, 0].tolist() for name, values in found.background.items()}
    paths = {name: folder / name for name in (ANALYSIS, ROWS, BASELINE)}
    paths[ROWS].parent.mkdir(parents=True, exist_ok=True)
    document = clarify.analysis(summary, dependences)
    paths[ANALYSIS].write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    table = clarify.table(found.values, found.scores).tolist()
    _write(paths[ROWS], clarify.header(found.features, labels), table)
    _write(paths[BASELINE], list(background), zip(*background.values(), strict=True))
    return paths


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(_cells, lines))


def _cells(line: Sequence[Any]) -> list[Any]:
    return ["" if isinstance(value, float) and math.isnan(value) else value for value in line]
