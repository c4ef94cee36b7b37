"""Write a run into `docs/`: the figures and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, stage
from benchmarks.monitoring.peers import report

PAGE = stage.ROOT / "docs" / "explanation" / "monitoring-benchmark.md"
PLOT = stage.ROOT / "docs" / "images" / "monitoring-benchmark.png"
OURS, THEIRS = "#1f5fa8", "#8a8a8a"


def write(result: Mapping[str, Any]) -> None:
    pages.rewrite(PAGE, "benchmarks/monitoring/peers", report.markdown(result))
    _plot(result)


def _plot(result: Mapping[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tasks = list(dict.fromkeys(row["task"] for row in result["figures"]))
    counts = [sum(row["task"] == task for row in result["figures"]) for task in tasks]
    figure, grid = plt.subplots(
        len(tasks),
        1,
        figsize=(9, 0.9 * len(tasks) + 0.42 * sum(counts)),
        height_ratios=counts,
        squeeze=False,
    )
    for task, (axes,) in zip(tasks, grid, strict=True):
        _dots(axes, [row for row in result["figures"] if row["task"] == task])
        axes.set_title(
            f"{task}: seconds for {result['rows']:,} rows (filled: the window; ring: the reference, once)",
            fontsize=9,
            loc="left",
        )
    figure.tight_layout()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)


def _dots(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    """A dot per tool for the window, with how many times ours it is, and a ring for the reference."""
    for place, row in enumerate(rows):
        colour = OURS if row["who"] == "Seaway" else THEIRS
        axes.plot(row["window s"], place, "o", color=colour, markersize=8)
        if row["reference s"]:
            axes.plot(row["reference s"], place, "o", color=colour, markersize=8, fillstyle="none")
        times = f"{row['window s']:,.2f} s" + (f", {row['times ours']:,.1f} x" if colour == THEIRS else "")
        at = (row["window s"], place)
        axes.annotate(times, at, (0, 7), textcoords="offset points", fontsize=8, ha="center")
    axes.set_yticks(range(len(rows)), [row["who"] for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.grid(visible=True, axis="x", which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
