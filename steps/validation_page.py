"""The result of a validation as one HTML page that loads nothing from anywhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from steps.page import document

_STYLE = """
code { font: .88em/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
.mark { font-weight: 700; white-space: nowrap }
"""


def render(report: Mapping[str, Any]) -> str:
    """The page for a report of `steps.validate.run`."""
    failed, checks = report["failures"], report["checks"]
    verdict = (
        "The table meets its expectations" if report["passed"] else "The table does not meet its expectations"
    )
    about_table = [one for one in checks if not one["column"]]
    by_column: dict[str, list[Mapping[str, Any]]] = {}
    for one in checks:
        if one["column"]:
            by_column.setdefault(one["column"], []).append(one)
    parts = [_section("What failed", failed, with_column=True)] if failed else []
    parts += [_section("Whole table", about_table)] if about_table else []
    parts += [_section(column, found) for column, found in by_column.items()]
    return document(
        f"{report['suite']}: {verdict}",
        f"<h1>{escape(verdict)}</h1>\n<p>Suite <code>{escape(report['suite'])}</code>; a failure of severity "
        f"{escape(report['fail_on'])} or above stops the build.</p>\n{_figures(report)}\n{''.join(parts)}",
        _STYLE,
    )


def _figures(report: Mapping[str, Any]) -> str:
    failed, total = len(report["failures"]), len(report["checks"])
    figures = (
        ("Checks passed", f"{total - failed} of {total}", "good" if not failed else ""),
        ("Checks failed", str(failed), "bad" if failed else ""),
        ("Rows", f"{report['rows']:,}", ""),
    )
    cells = "".join(f'<div><b class="{tone}">{value}</b>{name}</div>' for name, value, tone in figures)
    return f'<div class="figures">{cells}</div>'


def _section(title: str, checks: list[Mapping[str, Any]], *, with_column: bool = False) -> str:
    heads = ["Result", *(["Column"] if with_column else []), "Expectation", "Severity", "What was seen"]
    head = "".join(f"<th>{name}</th>" for name in heads)
    rows = "".join(_row(one, with_column=with_column) for one in checks)
    return (
        f'<h2>{escape(title)}</h2>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )


def _row(one: Mapping[str, Any], *, with_column: bool) -> str:
    words = one["expectation"].removeprefix("expect_").replace("_", " ")
    mark = '<span class="good">passed</span>' if one["passed"] else '<span class="bad">failed</span>'
    column = f"<td><code>{escape(one['column'])}</code></td>" if with_column else ""
    return (
        f'<tr><td class="mark">{mark}</td>{column}<td>{escape(words)}<br>'
        f"<code>{escape(one['expected'])}</code></td>"
        f"<td>{escape(one['severity'])}</td><td>{escape(one['observed'])}</td></tr>\n"
    )
