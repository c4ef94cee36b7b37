"""What the figures say: goals, tables, the page and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import machine

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
