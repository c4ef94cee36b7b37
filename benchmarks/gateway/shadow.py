"""What a shadow that hangs does to production: it must do nothing.

    python -m benchmarks.gateway.shadow [--clients 8] [--seconds 4] [--rounds 3] [--json]

One model server of the flights model takes all traffic; every request is also copied to a shadow that answers
its health checks, takes requests and never answers one. Turns with and without the shadow alternate on the same
Envoy. Exit status 1 when a request failed, when no copy reached the shadow, or when the median with the hanging
shadow is more than half again the median without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import load, machine, stage
from deploy.port import Share

SLOWER = 1.5
"""Ratio of medians above which the shadow counts as felt."""


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        turns, copies = _measure(Path(name), asked.clients, asked.seconds, asked.rounds)
    rows = [_row(what, found) for what, found in turns.items()]
    ratio = rows[1]["p50 ms"] / rows[0]["p50 ms"]
    figures = {"p50 with / without": ratio, "copies that hang": copies}
    machine.show({"machine": facts, "turns": rows, "figures": figures}, [rows, [figures]], as_json=asked.json)
    return int(any(row["failed"] for row in rows) or not copies or ratio > SLOWER)


def _row(what: str, found: list[load.Figures]) -> dict[str, Any]:
    return {
        "shadow": what,
        "requests/s": statistics.median(one.per_second for one in found),
        "p50 ms": statistics.median(one.p50 for one in found),
        "p99 ms": statistics.median(one.p99 for one in found),
        "failed": sum(one.failures for one in found),
        "turns": len(found),
    }


def _measure(
    folder: Path, clients: int, seconds: float, rounds: int
) -> tuple[dict[str, list[load.Figures]], int]:
    built = stage.build(folder)
    body = json.dumps({"instances": [built.row]}).encode()
    live, shadow = stage.fleet("v1"), stage.fleet("v2")
    turns: dict[str, list[load.Figures]] = {"none": [], "hangs": []}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(stage.model_server(built.package, folder / "v1.log"))
        hanging = stack.enter_context(_hanging())
        gateway = stack.enter_context(stage.gateway(folder))
        gateway.serve({live: [port], shadow: [hanging]})
        load.measure(gateway.invocations, body, clients, 1)
        for _ in range(rounds):
            for what, mirror in (("none", 0), ("hangs", 100)):
                _route(gateway, (Share(live.id, "v1", 100), Share(shadow.id, "v2", 0, mirror)))
                turns[what].append(load.measure(gateway.invocations, body, clients, seconds))
        counters = gateway.admin.counters(f"{stage.ENDPOINT}.").get(shadow.id)
        copies = counters.other.get("upstream_rq_total", 0) if counters else 0
    return turns, copies


def _route(gateway: stage.Gateway, shares: tuple[Share, ...]) -> None:
    version = gateway.folder.write_routes({stage.ENDPOINT: shares})
    stage.await_true(lambda: gateway.admin.applied_routes() == version, "the gateway's routes")


@contextlib.contextmanager
def _hanging() -> Iterator[int]:
    """Port of a server in a process of its own that answers `/ping` and nothing else."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield int(ours.recv())
    finally:
        process.kill()
        process.join()


def _serve(answer: Connection) -> None:
    asyncio.run(_hang(answer))


async def _hang(answer: Connection) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"GET /ping"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    answer.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
