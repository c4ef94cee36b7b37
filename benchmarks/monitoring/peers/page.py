"""Write a run into `docs/`: the figures and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, stage
from benchmarks.monitoring.peers import report

PAGE = stage.ROOT / "docs" / "explanation" / "monitoring-benchmark.md"
PLOT = stage.ROOT / "docs" / "images" / "monitoring-benchmark.png"
OURS, THEIRS, ONCE = "#1f5fa8", "#8a8a8a", "#d0d0d0"


def write(result: Mapping[str, Any]) -> None:
    pages.rewrite(PAGE, "benchmarks/monitoring/peers", report.markdown(result))
    _plot(result)


def _plot(result: Mapping[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tasks = list(dict.fromkeys(row["task"] for row in result["figures"]))
    figure, grid = plt.subplots(len(tasks), 1, figsize=(9, 2.6 * len(tasks)), squeeze=False)
    for task, (axes,) in zip(tasks, grid, strict=True):
        _bars(axes, [row for row in result["figures"] if row["task"] == task])
        axes.set_title(
            f"{task}: seconds for {result['rows']:,} rows (less is better)", fontsize=9, loc="left"
        )
    figure.tight_layout()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)


def _bars(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    """A bar per tool for the window, with how many times ours it is, and a pale one for the reference."""
    for place, row in enumerate(rows):
        colour = OURS if row["who"] == "Seaway" else THEIRS
        axes.barh(place - 0.18, row["window s"], height=0.36, color=colour)
        if row["reference s"]:
            axes.barh(place + 0.18, row["reference s"], height=0.36, color=ONCE)
        times = f"{row['window s']:,.2f} s" + (f", {row['times ours']:,.1f} x" if colour == THEIRS else "")
        axes.annotate(
            times,
            (row["window s"], place - 0.18),
            (4, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )
    axes.set_yticks(range(len(rows)), [row["who"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.grid(visible=True, axis="x", which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
