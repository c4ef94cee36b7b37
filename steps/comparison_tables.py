"""A paired comparison as tables of text, the same in the terminal, in Prefect and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def sections(found: Mapping[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """The figures as tables: title and rows of named cells; empty ones are left out."""
    made = [
        ("Requests", _requests(found)),
        ("By status of the answers", _statuses(found)),
        ("Labels that flip", _flips(found)),
        ("How scores moved", _scores(found)),
        ("Who is right", _quality(found)),
        ("Latency in milliseconds, with 95 % confidence", _latency(found)),
        ("By slice", _slices(found)),
        ("Rows that differ most", _examples(found)),
    ]
    return [(title, rows) for title, rows in made if rows]


def _requests(found: Mapping[str, Any]) -> list[dict[str, str]]:
    errors = found["errors"]
    rows = [
        {"requests": "both versions answer", "number": f"{errors['neither']:,}", "note": ""},
        {
            "requests": "only the candidate fails",
            "number": f"{errors['only_candidate']:,}",
            "note": f"exact McNemar test against the next line: p = {errors['p']:.3g}",
        },
        {"requests": "only the champion fails", "number": f"{errors['only_champion']:,}", "note": ""},
        {"requests": "both fail", "number": f"{errors['both']:,}", "note": ""},
        {
            "requests": "seen on the champion's side alone",
            "number": f"{found['only_champion']:,}",
            "note": "not compared: not mirrored, failed, or not captured",
        },
        {
            "requests": "seen on the candidate's side alone",
            "number": f"{found['only_candidate']:,}",
            "note": "",
        },
    ]
    for name in ("champion", "candidate") if found["noted"] else ():
        number = f"{found['noted'][f'only_{name}']:,}"
        note = (
            "no outcome on the other side: not mirrored, not sampled, or lost" if name == "champion" else ""
        )
        rows.append({"requests": f"outcome noted on the {name}'s side alone", "number": number, "note": note})
    return rows


def _statuses(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Left out when all is well."""
    statuses = found["errors"]["statuses"]
    if all(one["champion"] == one["candidate"] == 200 for one in statuses):
        return []
    return [
        {name: f"{one[name]:,}" for name in ("champion", "candidate", "requests")} for one in statuses[:20]
    ]


def _flips(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"champion": one["champion"], "candidate": one["candidate"], "rows": f"{one['rows']:,}"}
        for one in found["flipped"][:20]
    ]


def _scores(found: Mapping[str, Any]) -> list[dict[str, str]]:
    scores = found["scores"]
    if not scores:
        return []
    cells = {f"p{share * 100:g}": f"{value:+.4g}" for share, value in scores["quantiles"]}
    return [
        {
            "measure": scores["measure"],
            "mean": f"{scores['mean']:+.4g}",
            "mean absolute": f"{scores['mean_absolute']:.4g}",
            **cells,
            "largest": f"{scores['largest']:.4g}",
        }
    ]


def _quality(found: Mapping[str, Any]) -> list[dict[str, str]]:
    quality = found["quality"]
    if not quality:
        return []
    return [
        {
            "labelled rows": f"{quality['labelled']:,}",
            f"{quality['measure']}, champion": f"{quality['champion']:.4g}",
            "candidate": f"{quality['candidate']:.4g}",
            "candidate better on": f"{quality['candidate_better']:,}",
            "champion better on": f"{quality['champion_better']:,}",
            "exact McNemar p": f"{quality['p']:.3g}",
            "e-value worse": f"1e{quality['e_worse'] / math.log(10):.1f}",
            "e-value better": f"1e{quality['e_better'] / math.log(10):.1f}",
            "the candidate is": quality["verdict"],
        }
    ]


def _latency(found: Mapping[str, Any]) -> list[dict[str, str]]:
    latency = found["latency"]
    if not latency:
        return []
    rows = [
        {"": title, **_bounded(latency[name], latency[f"{name}_bounds"])}
        for title, name in (
            ("champion", "champion"),
            ("candidate", "candidate"),
            ("difference within pairs", "difference"),
        )
    ]
    told = f"candidate slower in {latency['slower']:,}, faster in {latency['faster']:,}; sign test p"
    return [
        *rows,
        {"": told, **dict.fromkeys(_percentiles(latency["champion"]), ""), "p50": f"{latency['p']:.3g}"},
    ]


def _percentiles(found: Iterable[Sequence[float]]) -> dict[str, str]:
    return {f"p{share * 100:g}": f"{value:.3f}" for share, value in found}


def _bounded(found: Iterable[Sequence[float]], bounds: Iterable[Sequence[float | None]]) -> dict[str, str]:
    """Percentiles with what bounds them; a question mark where there are too few answers for a bound."""
    made = {}
    for (share, value), ends in zip(found, bounds, strict=True):
        low, high = ("?" if end is None else f"{end:.3f}" for end in ends)
        made[f"p{share * 100:g}"] = f"{value:.3f} ({low} to {high})"
    return made


def _slices(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "value": one["value"],
            "rows": f"{one['rows']:,}",
            "differ": f"{one['differences']:,}",
            "flip": f"{one['flips']:,} ({one['flips'] / one['rows']:.2%})",
            "mean score change": f"{one['mean_difference']:+.4g}",
            "candidate better": f"{one['candidate_better']:,}",
            "champion better": f"{one['champion_better']:,}",
        }
        for one in found["slices"]
    ]


def _examples(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "event id": one["event_id"],
            "row": str(one["row"]),
            "champion": one["champion"],
            "candidate": one["candidate"],
        }
        for one in found["examples"]
    ]
