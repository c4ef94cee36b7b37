"""Write a run into `docs/`: figures between two marks of the page, whose other text stays, and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, stage
from benchmarks.serving.peers import report

PAGE = stage.ROOT / "docs" / "explanation" / "serving-benchmark.md"
PLOT = stage.ROOT / "docs" / "images" / "serving-benchmark.png"
MARKERS = {1: "o", 8: "s", 64: "D"}
COLOURS = {"Seaway": "#1f5fa8", "ONNX": "#c2571a", "scikit-learn": "#8a8a8a", "none": "#3f8f4f"}
MEANINGS = {
    "Seaway": "Seaway (ONNX)",
    "ONNX": "peer, the same ONNX model",
    "scikit-learn": "peer, scikit-learn",
    "none": "echo: no model",
}


def write(result: Mapping[str, Any]) -> None:
    pages.rewrite(PAGE, "benchmarks/serving/peers", report.markdown(result))
    _plot(result)


def _plot(result: Mapping[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sizes = list(dict.fromkeys(row["rows"] for row in result["figures"]))
    figure, grid = plt.subplots(len(sizes), 2, figsize=(11, 3.9 * len(sizes)), sharey=True, squeeze=False)
    for size, (left, right) in zip(sizes, grid, strict=True):
        rows = [row for row in result["figures"] if row["rows"] == size]
        what = f"{size} row{'s' * (size > 1)} per request"
        _dots(left, rows, "requests/s", f"{what}: requests a second (more is better)")
        _dots(right, rows, "p99 ms", f"{what}: p99 in ms (less is better)")
    grid[0][0].invert_yaxis()  # all share it
    figure.legend(handles=_legend(), loc="lower center", ncols=7, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)


def _dots(axes: Any, rows: list[Mapping[str, Any]], column: str, title: str) -> None:
    """One line per server with a mark for each number of clients."""
    names = list(dict.fromkeys(f"{row['server']} ({row['model']})" for row in rows))
    for row in rows:
        place = names.index(f"{row['server']} ({row['model']})")
        colour, marker = COLOURS[_kind(row)], MARKERS[row["clients"]]
        axes.plot(row[column], place, color=colour, marker=marker, linestyle="", markersize=6, alpha=0.85)
    axes.set_yticks(range(len(names)), [name.replace(" (none)", "") for name in names], fontsize=8)
    axes.set_xscale("log")
    axes.set_title(title, fontsize=9, loc="left")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _kind(row: Mapping[str, Any]) -> str:
    return "Seaway" if row["server"].startswith("Seaway") else str(row["model"])


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    marks = [
        Line2D(
            [],
            [],
            color="black",
            marker=marker,
            linestyle="",
            markersize=5,
            label=f"{n} client{'s' * (n > 1)}",
        )
        for n, marker in MARKERS.items()
    ]
    kinds = [Line2D([], [], color=COLOURS[kind], linewidth=5, label=MEANINGS[kind]) for kind in COLOURS]
    return [*marks, *kinds]
