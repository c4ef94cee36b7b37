"""What the turns say: how many times as long as ours, whether everybody found the same, and tables of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import machine, pages
from benchmarks.monitoring.peers.contenders import BIAS, OURS, Contender
from benchmarks.monitoring.peers.tables import SHIFTED

CLOSE = 1e-9
"""By how much figures of bias may differ."""
Turns = Mapping[Contender, Sequence[Mapping[str, Any]]]


def figures(turns: Turns) -> list[dict[str, Any]]:
    """One row each. Ratios are medians over rounds of the peer's turn by ours of the same round."""
    return [_figures(one, seen, turns) for one, seen in turns.items()]


def _figures(one: Contender, seen: Sequence[Mapping[str, Any]], turns: Turns) -> dict[str, Any]:
    ours = next((each for mine, each in turns.items() if mine in OURS and mine.task == one.task), seen)

    def middle(column: str) -> float:
        return statistics.median(turn.get(column, 0.0) for turn in seen)

    def times(*columns: str) -> float:
        pairs = zip(seen, ours, strict=False)
        return statistics.median(_sum(a, columns) / _sum(b, columns) for a, b in pairs)

    return {
        "task": one.task,
        "who": one.name,
        "times ours": times("window s"),
        "with reference": times("window s", "reference s"),
        "processor time": times("window cpu s"),
        "window s": middle("window s"),
        "reference s": middle("reference s"),
        "processor s": middle("window cpu s"),
        "peak MiB": middle("peak MiB"),
        "load": middle("load"),
        "goal": one.goal,
        "same": _same(one, seen[0], ours[0]),
    }


def _sum(turn: Mapping[str, Any], columns: Sequence[str]) -> float:
    return float(sum(turn.get(column, 0.0) for column in columns))


def _same(one: Contender, seen: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """The shifted columns were found; or all figures of bias that both have are equal, and there are some."""
    if one.task != BIAS:
        return set(seen["farthest"]) == SHIFTED and set(seen.get("alarms", SHIFTED)) == SHIFTED
    both = seen["figures"].keys() & ours["figures"].keys()
    return bool(both) and all(abs(seen["figures"][key] - ours["figures"][key]) <= CLOSE for key in both)


def wrong(turns: Turns) -> list[str]:
    """Where ours, or a figure of bias, is not as it must be. What other tools take for drift is theirs."""
    rows = zip(turns, figures(turns), strict=True)
    return [
        f"{row['who']}: {one.task} is not as it must be"
        for one, row in rows
        if not row["same"] and (one in OURS or one.task == BIAS)
    ]


def text(result: Mapping[str, Any]) -> str:
    """All as plain text."""
    head = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    parts = [f"{head}; {result['rows']:,} rows, {result['rounds']} rounds; {versions(result)}"]
    parts.append(machine.table(result["figures"]))
    parts += [f"missing: {name}: {why}" for name, why in result["missing"].items()]
    parts += [f"wrong: {what}" for what in result["broken"]]
    return "\n\n".join(parts)


def markdown(result: Mapping[str, Any]) -> str:
    """The part of the page that each run writes anew."""
    facts = dict(result["machine"])
    before, after = facts.pop("load"), facts.pop("load after")
    day, cores = facts.pop("at")[:10], facts.pop("cores")
    told = (
        f"{day}, {cores} cores, {result['rows']:,} rows. Each figure is the median of {result['rounds']} turn"
        f"{'s' * (result['rounds'] > 1)}. Load average {before[0]:.1f} before the run, {after[0]:.1f} after "
        f"it. {', '.join(f'{name} {value}' for name, value in facts.items())}; peers: {versions(result)}."
    )
    parts = [told]
    for task in dict.fromkeys(row["task"] for row in result["figures"]):
        lines = [_line(row) for row in result["figures"] if row["task"] == task]
        parts += [f"### {task.capitalize()}", pages.table(lines)]
    parts += [f"Not measured: {name}, which {why}." for name, why in result["missing"].items()]
    return "\n\n".join(parts) + "\n"


def _line(row: Mapping[str, Any]) -> dict[str, str]:
    met = f"≥ {row['goal']:g}: {'yes' if row['times ours'] >= row['goal'] else '**no**'}"
    return {
        "Who": row["who"],
        "Times ours": f"{row['times ours']:,.1f}",
        "Goal": met if row["goal"] else "-",
        "Reference included": f"{row['with reference']:,.1f}",
        "In processor time": f"{row['processor time']:,.1f}",
        "Window, s": f"{row['window s']:,.2f}",
        "Reference, s": f"{row['reference s']:,.2f}" if row["reference s"] else "-",
        "Processor, s": f"{row['processor s']:,.2f}",
        "Peak memory, MiB": f"{row['peak MiB']:,.0f}",
        "Load": f"{row['load']:.1f}",
        "Same answer": "yes" if row["same"] else "**no**",
    }


def versions(result: Mapping[str, Any]) -> str:
    """The peers themselves, each the first line of its requirements."""
    firsts = [next(iter(pinned.items())) for pinned in result["peers"].values()]
    return ", ".join(f"{name.partition('[')[0]} {version}" for name, version in firsts)
