"""Charts and the decision sheet: what a person looks at before approving.

The colours are Okabe and Ito's, which people with any colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.gate import GateResult, advantage
from steps.metrics import LOWER_IS_BETTER

_INK, _SOFT, _GRID = "#1b2430", "#5b6773", "#e3e8ee"
_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_SERIES = (_BLUE, _ORANGE, _GREEN, _RED)
_HEADLINE = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}
_MOST_BARS = 24


def draw(report: Mapping[str, Any], curves: Mapping[str, list[float]], out: Path) -> list[str]:
    """Write the charts of an evaluation report as PNG files and return their names.

    Args:
        report: of `steps.evaluate`.
        curves: per-iteration metrics of `steps.train`.
        out: folder to write to.
    """
    made = {}
    if report["roc"]:
        made["roc.png"] = _roc(report)
    if report["calibration"]:
        made["calibration.png"] = _calibration(report)
    if report["confusion"]:
        made["confusion.png"] = _confusion(report["confusion"])
    for column, entries in report["slices"].items():
        made[f"slices-{column}.png"] = _slices(column, entries, report)
    if curves:
        made["training.png"] = _training(curves)
    for name, figure in made.items():
        figure.savefig(out / name, format="png", metadata={"Software": None})
    return list(made)


def decision_sheet(
    title: str,
    report: Mapping[str, Any],
    gates: Iterable[GateResult],
    facts: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    packed: Mapping[str, Any] | None = None,
) -> str:
    """Markdown for the person who approves: verdict, comparison with the champion, gates, weak slices, links.

    Args:
        title: heading, for example the model and version.
        report: of `steps.evaluate`.
        gates: of `steps.gate`.
        facts: shown as a list, for example data digest and rows.
        links: addresses by name.
        packed: `PackResult.report` of `steps.pack`.
    """
    gates = list(gates)
    parts = [
        f"# {title}",
        _verdict(gates, report),
        "## On the hold-out",
        _holdout(report),
        _comparison(report),
    ]
    if gates:
        lines = [f"| {'passed' if gate.passed else '**failed**'} | {gate.sentence} |" for gate in gates]
        parts += ["## Gates", "\n".join(["| Result | Why |", "|---|---|", *lines])]
    if weak := _weakest(report):
        parts += ["## Weakest slices", weak]
    if packed:
        parts += ["## What will answer", served(packed)]
    if facts:
        parts += ["## Origin", "\n".join(f"- {name}: `{value}`" for name, value in facts.items())]
    if links:
        parts += ["## Look closer", "\n".join(f"- [{name}]({address})" for name, address in links.items())]
    return "\n\n".join(parts) + "\n"


def served(packed: Mapping[str, Any]) -> str:
    """Markdown: which runtime answers, how closely it follows the trained model, how fast both are.

    Args:
        packed: `PackResult.report` of `steps.pack`.
    """
    parity, smaller = packed["parity"], packed["quantisation"]
    lines = [_runtime(packed), *([_followed(parity)] if parity["max_abs_difference"] is not None else [])]
    if smaller and smaller["applied"]:
        lines.append(f"Its weights are stored as {smaller['mode']}.")
    elif smaller:
        lines.append(f"Weights stay as they are, not {smaller['mode']}: {smaller['reason']}.")
    table = ["| Rows per call | Compiled, ms | scikit-learn, ms | Compiled is faster |", "|---|---|---|---|"]
    for one in packed["speed"]:
        compiled = "-" if one["onnx"] is None else f"{1000 * one['onnx']:.3f}"
        ratio = "-" if one["ratio"] is None else f"{one['ratio']:.1f} times"
        ratio += ", close" if one["close"] else ""
        table.append(f"| {one['rows']:,} | {compiled} | {1000 * one['sklearn']:.3f} | {ratio} |")
    return " ".join(lines) + "\n\n" + "\n".join(table)


def _runtime(packed: Mapping[str, Any]) -> str:
    if packed["runtime"] != "onnx":
        return f"**The trained model answers:** {packed['parity']['reason']}."
    if packed["trained_from"] is None:
        return "**The compiled model answers.**"
    return f"**The compiled model answers, and the trained one from {packed['trained_from']:,} rows on.**"


def _followed(parity: Mapping[str, Any]) -> str:
    most = f"{parity['max_abs_difference']:.1e}"
    text = f"On {parity['rows']:,} hold-out rows the compiled model's scores differ by {most} at most"
    if parity["rank_agreement"] is None:
        return f"{text}."
    return f"{text}; {parity['rank_agreement']:.2%} are ranked alike."


def _verdict(gates: list[GateResult], report: Mapping[str, Any]) -> str:
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        return f"**{len(failed)} of {len(gates)} gates failed.** Do not approve: {failed[0].sentence}."
    gate = f"All {len(gates)} gates passed." if gates else "The project sets no gates."
    name = _HEADLINE[report["task"]]
    difference = report["champion"] and report["champion"]["difference"].get(name)
    if not difference:
        return f"**{gate}** There is no champion yet."
    low, high = sorted((advantage(name, difference["low"]), advantage(name, difference["high"])))
    word = "better than" if low > 0 else "worse than" if high < 0 else "not distinguishable from"
    return f"**{gate}** By {name} the challenger is {word} champion {report['champion']['name']}."


def _holdout(report: Mapping[str, Any]) -> str:
    span = report["holdout"]
    when = f", {span['from']} to {span['to']}" if span["time"] else ", drawn at random"
    return (
        f"{report['rows']:,} rows never trained on{when}. "
        f"Ranges hold {report['confidence']:.0%} of {report['bootstrap']} resamples."
    )


def _comparison(report: Mapping[str, Any]) -> str:
    champion = report["champion"]
    heads = ["Metric", "Better", "Challenger", *(["Champion", "Difference"] if champion else [])]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, own in report["metrics"].items():
        cells = [name, "lower" if name in LOWER_IS_BETTER else "higher", _ranged(own)]
        if champion:
            cells += [_ranged(champion["metrics"][name]), _change(name, champion["difference"][name])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ranged(entry: Mapping[str, float] | None, sign: str = "") -> str:
    if entry is None:
        return "not defined"
    return f"{entry['value']:{sign}.4f} ({entry['low']:{sign}.4f} to {entry['high']:{sign}.4f})"


def _change(name: str, entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return "not defined"
    low, high = sorted((advantage(name, entry["low"]), advantage(name, entry["high"])))
    word = "better" if low > 0 else "worse" if high < 0 else "within noise"
    return f"{_ranged(entry, '+')} {word}"


def _weakest(report: Mapping[str, Any]) -> str:
    """The lowest slice of each column by the headline metric, small ones left out."""
    name = _HEADLINE[report["task"]]
    lines = []
    for column, entries in report["slices"].items():
        usable = [one for one in entries if not one["small"] and one["metrics"].get(name)]
        if usable:
            worst = min(usable, key=lambda one: advantage(name, one["metrics"][name]["value"]))
            lines.append(
                f"- {column}={worst['value']}: {name} {_ranged(worst['metrics'][name])}, "
                f"{worst['rows']:,} rows"
            )
        if small := sum(one["small"] for one in entries):
            lines.append(f"- {column}: {small} values have too few rows to say anything")
    return "\n".join(lines)


def _figure(title: str, across: str, up: str, size: tuple[float, float] = (6.4, 4.8)) -> tuple[Any, Any]:
    """A figure of its own, outside pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel(across, color=_SOFT)
    axes.set_ylabel(up, color=_SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_SOFT, length=0)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _roc(report: Mapping[str, Any]) -> Any:
    figure, axes = _figure(
        "ROC curve on the hold-out", "False positive rate", "True positive rate", (5.6, 5.2)
    )
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (4, 4)), label="guessing")
    area = report["metrics"]["roc_auc"]
    label = f"model, area {area['value']:.3f}" if area else "model"
    axes.plot(report["roc"]["fpr"], report["roc"]["tpr"], color=_BLUE, linewidth=2.2, label=label)
    axes.fill_between(report["roc"]["fpr"], report["roc"]["tpr"], color=_BLUE, alpha=0.08)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.legend(loc="lower right", frameon=False, labelcolor=_INK)
    return figure


def _calibration(report: Mapping[str, Any]) -> Any:
    figure, axes = _figure("Calibration on the hold-out", "Mean score", "Observed share", (5.6, 5.2))
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (4, 4)), label="perfect")
    scores = [one["score"] for one in report["calibration"]]
    observed = [one["observed"] for one in report["calibration"]]
    axes.plot(
        scores,
        observed,
        color=_BLUE,
        linewidth=2.2,
        marker="o",
        markersize=6,
        label="model, tenths of the rows",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.legend(loc="upper left", frameon=False, labelcolor=_INK)
    return figure


def _confusion(matrix: Mapping[str, Any]) -> Any:
    import numpy as np

    labels, counts = matrix["labels"], np.array(matrix["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.4, 0.6 * len(labels) + 2)
    figure, axes = _figure(
        "Confusion matrix, share of each true class", "Predicted", "True", (side + 0.6, side)
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xticks(range(len(labels)), [str(one) for one in labels])
    axes.set_yticks(range(len(labels)), [str(one) for one in labels])
    if len(labels) <= 12:
        for (row, column), share in np.ndenumerate(shares):
            text = f"{share:.1%}\n{int(counts[row, column]):,}"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.55 else _INK)
    return figure


def _slices(column: str, entries: list[Mapping[str, Any]], report: Mapping[str, Any]) -> Any:
    name = _HEADLINE[report["task"]]
    shown = [one for one in entries if one["metrics"].get(name)][:_MOST_BARS]
    shown.sort(key=lambda one: one["metrics"][name]["value"])
    figure, axes = _figure(f"{name} by {column}", name, "", (6.8, max(2.6, 0.34 * len(shown) + 1.4)))
    for place, one in enumerate(shown):
        found, colour = one["metrics"][name], _SOFT if one["small"] else _BLUE
        axes.plot(
            [found["low"], found["high"]],
            [place, place],
            color=colour,
            linewidth=5,
            alpha=0.3,
            solid_capstyle="round",
        )
        axes.plot(found["value"], place, "o", color=colour, markersize=6)
    names = [f"{one['value']}  ({one['rows']:,}{', few' if one['small'] else ''})" for one in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(-0.7, max(len(shown) - 0.3, 0.7))
    axes.grid(visible=False, axis="y")
    if overall := report["metrics"][name]:
        axes.axvline(overall["value"], color=_ORANGE, linewidth=1.6, label="all rows")
        figure.legend(loc="outside lower right", frameon=False, labelcolor=_INK)
    return figure


def _training(curves: Mapping[str, list[float]]) -> Any:
    figure, axes = _figure("Training", "Iteration", "Score or loss as the estimator records it")
    for (name, values), colour in zip(curves.items(), _SERIES, strict=False):
        axes.plot(range(len(values)), values, color=colour, linewidth=2, label=name.replace("_", " "))
    axes.legend(loc="best", frameon=False, labelcolor=_INK)
    return figure
