"""What the figures say: goals, and tables of them as text and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import machine, pages

GATEWAY, DIRECT = "Seaway, gateway", "Seaway, direct"
CLIENTS = 8
"""Goals are about one row and this many clients, where nothing else is said."""


def goals(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with what was measured; a peer that is missing has no line."""
    figures = result["figures"]

    def at(server: str, column: str, clients: int = CLIENTS) -> list[tuple[str, float]]:
        return [
            (f"{server}, {row['model']}", row[column])
            for row in figures
            if row["server"] == server and row["rows"] == 1 and row["clients"] == clients
        ]

    ((_, rate),) = at(GATEWAY, "requests/s")
    ((_, direct),) = at(DIRECT, "requests/s")
    lines = []
    for name, ours, least in (("gateway", rate, 15), ("direct", direct, 30)):
        lines += [
            _at_least(f"{name} / {peer}", ours / theirs, least) for peer, theirs in at("MLflow", "requests/s")
        ]
    for server, least in (("MLServer", 4), ("BentoML", 3), ("Ray Serve", 3)):
        lines += [
            _at_least(f"gateway / {peer}", rate / theirs, least) for peer, theirs in at(server, "requests/s")
        ]
    ((_, slowest),) = at(GATEWAY, "p99 ms")
    lines += [
        _at_least("p99: MLflow / gateway", theirs / slowest, 10) for _, theirs in at("MLflow", "p99 ms")
    ]
    lines += [
        _at_least("direct / Granian echo", direct / limit, 0.6)
        for _, limit in at("Granian echo", "requests/s")
    ]
    ((_, through),), ((_, alone),) = at(GATEWAY, "p50 ms", 1), at(DIRECT, "p50 ms", 1)
    lines.append(_at_most("gateway adds to p50, ms (1 client)", through - alone, 0.5))
    memory = next(row["idle MiB"] for row in result["idle"] if row["server"] == DIRECT)
    lines.append(_at_most("memory of an idle instance, MB", memory * 2**20 / 1e6, 80))
    return lines


def _at_least(what: str, value: float, goal: float) -> dict[str, Any]:
    return {"what": what, "measured": value, "goal": f">= {goal:g}", "": "met" if value >= goal else "missed"}


def _at_most(what: str, value: float, goal: float) -> dict[str, Any]:
    return {"what": what, "measured": value, "goal": f"<= {goal:g}", "": "met" if value <= goal else "missed"}


def text(result: Mapping[str, Any]) -> str:
    """All tables as plain text."""
    head = ", ".join(f"{name} {value}" for name, value in {**result["machine"], **result["cores"]}.items())
    parts = [
        head,
        machine.table(result["goals"]),
        machine.table(result["idle"]),
        machine.table(result["figures"]),
    ]
    parts += [f"missing: {name}: {why}" for name, why in result["missing"].items()]
    return "\n\n".join(parts)


def markdown(result: Mapping[str, Any]) -> str:
    """The part of the page that each run writes anew."""
    facts = dict(result["machine"])
    before, after = facts.pop("load"), facts.pop("load after")
    cores = result["cores"]
    told = (
        f"{facts.pop('at')[:10]}, {facts.pop('cores')} cores: {cores['servers']} for each server in turn, "
        f"{cores['load generator']} for the load generator. "
        + ", ".join(f"{name} {value}" for name, value in facts.items())
        + f"; peers: {_versions(result['peers'])}. Each figure is the median of {result['rounds']} turns of "
        f"{result['seconds']} s. Load average {before[0]:.1f} before the run, {after[0]:.1f} after it."
    )
    parts = [told, "### Goals", pages.table(_goal_lines(result["goals"])), "### Memory and start"]
    parts += [pages.table(_idle_lines(result["idle"]))]
    for size in dict.fromkeys(row["rows"] for row in result["figures"]):
        parts += [
            f"### Requests of {size} row{'s' * (size > 1)}",
            pages.table(_lines(result["figures"], size)),
        ]
    parts.append(_troubles(result))
    return "\n\n".join(parts) + "\n"


def _goal_lines(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "1 row, 8 clients": line["what"],
            "Measured": f"{line['measured']:.2f}",
            "Goal": line["goal"].replace(">= ", "≥ ").replace("<= ", "≤ "),
            "Met": {"met": "yes", "missed": "**no**"}[line[""]],
        }
        for line in lines
    ]


def _idle_lines(idle: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "Server": row["server"],
            "Model": row["model"],
            "Processes": str(row["processes"]),
            "Memory, MiB": f"{row['idle MiB']:.0f}",
            "Processor while idle, %": f"{row['idle CPU %']:.1f}",
            "First answer after, s": "-" if row["cold start s"] is None else f"{row['cold start s']:.1f}",
        }
        for row in idle
    ]


def _lines(figures: Sequence[Mapping[str, Any]], size: int) -> list[dict[str, str]]:
    """One line per server, a cell per number of clients."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in figures:
        if row["rows"] == size:
            who = {"Server": row["server"], "Model": row["model"]}
            line = lines.setdefault((row["server"], row["model"]), who)
            n = row["clients"]
            head = f"{n} client{'s' * (n > 1)}: requests/s (p50, p99 ms; CPU µs)"
            line[head] = (
                f"{row['requests/s']:,.0f} ({_short(row['p50 ms'])}, {_short(row['p99 ms'])}; {row['cpu us']:,.0f})"
            )
    return list(lines.values())


def _troubles(result: Mapping[str, Any]) -> str:
    failures = sum(row["failures"] for row in result["figures"])
    spread = max(row["range"] for row in result["figures"])
    said = [f"Failed requests: {failures}. Widest range of a cell's turns: {spread:.0%} of its median."]
    said += [f"Not measured: {name}, which {why}." for name, why in result["missing"].items()]
    return "\n\n".join(said)


def _versions(pinned: Mapping[str, Mapping[str, str]]) -> str:
    found = {name: version for packages in pinned.values() for name, version in packages.items()}
    return ", ".join(f"{name.partition('[')[0]} {version}" for name, version in sorted(found.items()))


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:,.0f}"
