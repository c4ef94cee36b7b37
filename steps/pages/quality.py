"""Model quality on the page: metrics with intervals, coverage of labels, confusion matrix and curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from monitoring.findings import Figure, Finding
from monitoring.quality.metric import CONTAINERS
from steps.pages import markup
from steps.pages.charts import curve
from steps.pages.markup import Cell, Html, badge, between, number, share, text
from steps.pages.trends import thresholds

CONSTANT = "_best_constant_classifier"
CLASSES = 20
"""Classes that the confusion matrix shows; more make a table that nobody reads."""
_LABELS = ("label_coverage", "label_delay_median_seconds")


def section(finding: Finding) -> str:
    """Everything about the quality of predictions."""
    figures = [one for one in finding.figures if one.name not in _LABELS]
    measured = [one for one in figures if not one.estimated and CONSTANT not in one.name]
    guessed = [one for one in figures if one.estimated]
    shapes = _shapes(finding.documents.get("statistics.json"))
    limits = thresholds(finding.documents.get("constraints.json"))
    parts = (
        _coverage(finding),
        _measured(
            measured,
            limits,
            {one.name: one.value for one in figures if CONSTANT in one.name},
            _violated(finding),
        ),
        _guessed(guessed),
        _pictures(shapes),
        _groups(finding.details),
    )
    return markup.section("Model quality", "".join(parts))


def _coverage(finding: Finding) -> str:
    known = {one.name: one for one in finding.figures if one.name in _LABELS}
    captured = getattr(
        finding.details, "captured", known["label_coverage"].n if "label_coverage" in known else 0
    )
    pairs: dict[str, Cell] = {"Captured rows": captured, "Rows judged": finding.rows}
    if "label_coverage" in known:
        pairs["Rows with a label"] = share(known["label_coverage"].value)
    if (delay := known.get("label_delay_median_seconds")) and delay.value is not None:
        pairs["Half of the labels come within"] = _duration(delay.value)
    arrival = getattr(finding.details, "arrival", None)
    if arrival is not None:
        pairs["Labels still expected"] = share(arrival.outstanding * arrival.expected)
    return markup.facts(pairs)


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{number(round(seconds / size, 1))} {name}"
    return f"{number(round(seconds, 1))} seconds"


def _measured(
    figures: Iterable[Figure],
    limits: Mapping[str, float],
    constant: Mapping[str, float | None],
    violated: frozenset[str],
) -> str:
    rows = [
        (
            one.name,
            one.value,
            between(one.low, one.high),
            Html(number(limits[one.name])) if one.name in limits else "",
            number(constant[f"{one.name}{CONSTANT}"]) if f"{one.name}{CONSTANT}" in constant else "",
            one.n,
            Html(badge("violated", "bad")) if one.name in violated else "",
        )
        for one in figures
        if one.value is not None
    ]
    heads = ("Metric", "Value", "95 % interval", "Limit", "Best constant answer", "Rows", "")
    return markup.table(heads, rows, caption="Measured with labels")


def _violated(finding: Finding) -> frozenset[str]:
    return frozenset(dict(one.subject).get("metric_name", "") for one in finding.violations)


def _guessed(figures: Iterable[Figure]) -> str:
    mark = Html(badge("estimated", "guess"))
    rows = [
        (one.name, one.value, between(one.low, one.high), mark, one.n)
        for one in figures
        if one.value is not None
    ]
    heads = ("Metric", "Value", "Band", "", "Rows")
    told = (
        '<p class="lead">Estimated from the model\'s own probabilities, not measured: right only while the '
        "relation between inputs and outcome is the one of the baseline.</p>"
    )
    shown = markup.table(heads, rows, caption="Estimated without labels")
    return f'<div class="guessed">{told}{shown}</div>' if shown else ""


def _shapes(document: Any) -> Mapping[str, Any]:
    """Confusion matrix and curves of a `statistics.json`."""
    if isinstance(document, Mapping):
        for key in CONTAINERS.values():
            if isinstance(found := document.get(key), Mapping):
                return found
    return {}


def _pictures(shapes: Mapping[str, Any]) -> str:
    return f'<div class="side">{drawn}</div>' if (drawn := "".join(_drawn(shapes))) else ""


def _drawn(shapes: Mapping[str, Any]) -> Iterator[str]:
    if matrix := shapes.get("confusion_matrix"):
        yield _confusion(matrix)
    roc = shapes.get("receiver_operating_characteristic_curve") or {}
    if roc.get("false_positive_rates"):
        names = ("False positive rate", "True positive rate")
        drawn = curve("ROC curve", roc["false_positive_rates"], roc["true_positive_rates"], names)
        yield f"<figure>{drawn}<figcaption>ROC curve</figcaption></figure>"
    precision = shapes.get("precision_recall_curve") or {}
    if precision.get("recalls"):
        drawn = curve(
            "Precision over recall",
            precision["recalls"],
            precision["precisions"],
            ("Recall", "Precision"),
            slope=False,
        )
        yield f"<figure>{drawn}<figcaption>Precision and recall</figcaption></figure>"


def _confusion(matrix: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows are what happened; the deeper a cell, the larger its share of its row."""
    names = list(matrix)[:CLASSES]
    head = "".join(f'<th scope="col">{text(name, 24)}</th>' for name in names)
    body = "".join(_confused(name, matrix[name], names) for name in names)
    more = (
        f"<p>{len(matrix) - CLASSES} further classes are in statistics.json.</p>"
        if len(matrix) > CLASSES
        else ""
    )
    return (
        '<figure class="wide"><div class="scroll" tabindex="0" role="group" aria-label="Confusion matrix">'
        f'<table class="matrix"><thead><tr><th scope="col">Happened ↓ predicted →</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div><figcaption>Confusion matrix</figcaption>{more}</figure>"
    )


def _confused(name: str, row: Mapping[str, Any], names: Iterable[str]) -> str:
    total = sum(float(count) for count in row.values()) or 1.0
    cells = "".join(
        f'<td style="--part:{float(row.get(other, 0)) / total:.2f}"{" class=hit" if other == name else ""}>'
        f"{int(row.get(other, 0)):,}<small>{share(float(row.get(other, 0)) / total)}</small></td>"
        for other in names
    )
    return f'<tr><th scope="row">{text(name, 24)}</th>{cells}</tr>'


def _groups(details: Any) -> str:
    """Whether labels are missing at random: coverage by group of predictions."""
    test = getattr(details, "missingness", None)
    if test is None or not getattr(test, "selective", False):
        return ""
    rows = [(one.name, one.rows, one.labelled, share(one.coverage)) for one in test.groups]
    return markup.table(
        ("Predictions", "Rows", "With a label", "Coverage"), rows, caption="Labels by prediction"
    )
