"""A paired comparison as a picture and as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from steps.comparison_tables import sections
from steps.page import document

_INK, _SOFT, _GRID = "#1b2430", "#5b6773", "#e3e8ee"
_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_STYLE = """
img { max-width: 100%; height: auto; background: #fff; border-radius: 8px; display: block }
td { overflow-wrap: anywhere }
"""

Report = Mapping[str, Any]
"""Of `flows.comparing.document`: heading, verdict, reasons and `comparison`."""


def page(report: Report) -> str:
    """The HTML page."""
    title = f"{report['kind']}: {report['candidate']} beside {report['champion']}"
    found = report["comparison"]
    tone = "good" if report["verdict"] == "passed" else "bad"
    reasons = "".join(f'<p class="bad">{escape(reason)}</p>' for reason in report["reasons"])
    chart = base64.b64encode(picture(report)).decode() if found["pairs"] else ""
    image = f'<img alt="charts of the comparison" src="data:image/png;base64,{chart}">' if chart else ""
    tables = "".join(_section(name, rows) for name, rows in sections(found))
    return document(
        title,
        f'<h1 class="{tone}">{escape(_headline(report))}</h1>\n<p>{escape(title)}, endpoint '
        f"{escape(report['endpoint'])}, {escape(report['since'])} to {escape(report['until'])}</p>\n"
        f"{reasons}\n{_figures(found)}\n{image}\n{tables}",
        _STYLE,
    )


def picture(report: Report) -> bytes:
    """All charts in one PNG; only what the pairs speak about is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    found = report["comparison"]
    charts = _charts(found)
    across = min(2, len(charts)) or 1
    down = -(-len(charts) // across) or 1
    figure = Figure(
        figsize=(5.6 * across, 3.9 * down),
        dpi=120,
        layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    for place, (title, labels, draw) in enumerate(charts, start=1):
        draw(_axes(figure.add_subplot(down, across, place), title, labels))
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


Draw = Callable[[Any], None]


def _charts(found: Mapping[str, Any]) -> list[tuple[str, tuple[str, str], Draw]]:
    """Title, axis labels and drawing of every chart that has something to show."""
    scores, latency, quality = found["scores"], found["latency"], found["quality"]
    made: list[tuple[str, tuple[str, str], Draw]] = [
        ("Answers", ("Predictions and requests", ""), lambda axes: _draw_outcomes(axes, found))
    ]
    if scores and scores["counts"]:
        name = "Candidate minus champion" if scores["measure"] == "difference" else "Total variation distance"
        made.append(("How scores moved", (name, "Rows"), lambda axes: _draw_scores(axes, scores)))
    if found["slices"]:
        made.append(("Changed by slice", ("Share of rows", ""), lambda axes: _draw_slices(axes, found)))
    if quality and quality["path"]:
        labels = ("Labelled rows on which they differ", "log10 of the e-value")
        made.append(("Evidence", labels, lambda axes: _draw_evidence(axes, quality)))
    if latency:
        labels = ("Share of answers", "Milliseconds")
        made.append(("Latency", labels, lambda axes: _draw_latency(axes, latency)))
    return made


def _axes(axes: Any, title: str, labels: tuple[str, str]) -> Any:
    axes.set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel(labels[0], color=_SOFT)
    axes.set_ylabel(labels[1], color=_SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_SOFT, length=0)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _draw_outcomes(axes: Any, found: Mapping[str, Any]) -> None:
    errors = found["errors"]
    bars = [
        ("same", found["rows"] - found["differences"], _BLUE),
        ("another score", found["differences"] - found["flips"], _ORANGE),
        ("another label", found["flips"], _RED),
        ("only candidate fails", errors["only_candidate"], _RED),
        ("only champion fails", errors["only_champion"], _GREEN),
    ]
    _bars(axes, bars)


def _bars(axes: Any, bars: Sequence[tuple[str, float, str]], text: str = "{:,.0f}") -> None:
    """Horizontal bars from top to bottom, each with its value behind it."""
    places = range(len(bars), 0, -1)
    axes.barh(places, [value for _, value, _ in bars], color=[colour for *_, colour in bars], height=0.62)
    axes.set_yticks(places, [name for name, *_ in bars])
    most = max((value for _, value, _ in bars), default=0) or 1
    for place, (_, value, _) in zip(places, bars, strict=True):
        axes.text(value + most * 0.015, place, text.format(value), va="center", color=_INK, fontsize=9)
    axes.set_xlim(0, most * 1.18)
    axes.grid(visible=False, axis="y")


def _draw_scores(axes: Any, scores: Mapping[str, Any]) -> None:
    edges = scores["edges"]
    axes.stairs(scores["counts"], edges, fill=True, color=_BLUE, alpha=0.85)
    axes.set_yscale("symlog", linthresh=1)
    axes.axvline(scores["mean"], color=_ORANGE, linewidth=1.8, label=f"mean {scores['mean']:+.4g}")
    axes.legend(loc="upper right", frameon=False, labelcolor=_INK)


def _draw_slices(axes: Any, found: Mapping[str, Any]) -> None:
    changed = "flips" if found["labelled_classes"] else "differences"
    bars = [
        (f"{one['value'][:28]}  ({one['rows']:,})", one[changed] / one["rows"], _BLUE)
        for one in found["slices"]
    ]
    _bars(axes, bars, "{:.2%}")
    overall = found[changed] / max(found["rows"], 1)
    axes.axvline(overall, color=_ORANGE, linewidth=1.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}" if value < 0.01 else f"{value:.0%}")


def _draw_evidence(axes: Any, quality: Mapping[str, Any]) -> None:
    seen = [look["pairs"] for look in quality["path"]]
    for name, colour in (("worse", _RED), ("better", _GREEN)):
        values = [look[name] / math.log(10) for look in quality["path"]]
        axes.plot(seen, values, color=colour, linewidth=2, label=f"candidate is {name}")
    limit = math.log10(1 / quality["alpha"])
    axes.axhline(
        limit, color=_SOFT, linewidth=1.2, linestyle=(0, (4, 4)), label=f"limit {1 / quality['alpha']:g}"
    )
    axes.set_ylim(bottom=-3)
    axes.legend(loc="best", frameon=False, labelcolor=_INK)


def _draw_latency(axes: Any, latency: Mapping[str, Any]) -> None:
    for name, colour in (("champion", _BLUE), ("candidate", _ORANGE)):
        names = [f"p{share * 100:g}" for share, _ in latency[name]]
        values = [value for _, value in latency[name]]
        lower = [0.0 if one[0] is None else value - one[0] for value, one in _ends(latency, name)]
        upper = [0.0 if one[1] is None else one[1] - value for value, one in _ends(latency, name)]
        axes.errorbar(
            names,
            values,
            yerr=[lower, upper],
            color=colour,
            marker="o",
            linewidth=2,
            elinewidth=1,
            capsize=3,
            label=name,
        )
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False, labelcolor=_INK)


def _ends(latency: Mapping[str, Any], name: str) -> list[tuple[float, Sequence[float | None]]]:
    """Percentiles and what bounds them."""
    return [(value, ends) for (_, value), ends in zip(latency[name], latency[f"{name}_bounds"], strict=True)]


def _headline(report: Report) -> str:
    found = report["comparison"]
    if not found["pairs"]:
        return "Nothing was compared"
    if found["identical"]:
        return f"0 differences in {found['rows']:,} predictions"
    what = "labels flip" if found["labelled_classes"] else "predictions differ"
    return f"{found['decisions_changed']:,} of {found['rows']:,} {what}"


def _figures(found: Mapping[str, Any]) -> str:
    scores = found["scores"]
    shown = [
        ("Requests compared", f"{found['pairs']:,}"),
        ("Predictions", f"{found['rows']:,}"),
        ("Differ at all", f"{found['differences']:,}"),
        ("Changed", f"{found['changed_share']:.2%}"),
        ("Largest score change", f"{scores['largest']:.3g}" if scores else "none"),
        ("Fail on the candidate alone", f"{found['errors']['only_candidate']:,}"),
    ]
    return '<div class="figures">' + "".join(f"<div><b>{v}</b>{escape(k)}</div>" for k, v in shown) + "</div>"


def _section(title: str, rows: Sequence[Mapping[str, str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.values()) + "</tr>\n" for row in rows
    )
    return (
        f'<h2>{escape(title)}</h2>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )
