"""Weight changes at the gateway under continuous load: no request may fail.

    python -m benchmarks.gateway.weights [--changes 200] [--clients 4] [--json]

Two model servers of the flights model stand behind Envoy with two worker threads; clients call without a pause
from a process of their own while the weights change. Measured is the time from before the file is written to
the moment at which Envoy's admin interface reports the new routes, asked every millisecond. Exit status 1 when
a request failed.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks import load, machine, stage
from deploy.port import Share

STEP = 0.001
LIMIT_SECONDS = 5.0
WARM_UP_SECONDS = 1


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        seen, applied = _measure(Path(name), asked.changes, asked.clients)
    result = {
        "failed": seen.failures.total(),
        "requests": len(seen.seconds) + seen.failures.total(),
        "changes": len(applied),
        "applied p50 ms": 1e3 * machine.percentile(applied, 50),
        "applied p99 ms": 1e3 * machine.percentile(applied, 99),
        "request p50 ms": 1e3 * machine.percentile(seen.seconds, 50),
        "request p99 ms": 1e3 * machine.percentile(seen.seconds, 99),
        **{f"answered by {variant}": count for variant, count in sorted(seen.variants.items())},
    }
    failures = dict(seen.failures)
    machine.show({"machine": facts, "figures": result, "failures": failures}, [[result]], as_json=asked.json)
    return int(seen.failures.total() > 0 or set(seen.variants) != {"v1", "v2"})


def _measure(folder: Path, changes: int, clients: int) -> tuple[load.Seen, list[float]]:
    built = stage.build(folder)
    body = json.dumps({"instances": [built.row]}).encode()
    old, new = stage.fleet("v1"), stage.fleet("v2")
    with contextlib.ExitStack() as stack:
        ports = [
            stack.enter_context(stage.model_server(built.package, folder / f"{one.variant}.log"))
            for one in (old, new)
        ]
        gateway = stack.enter_context(stage.gateway(folder, concurrency=2))
        gateway.serve({old: [ports[0]], new: [ports[1]]})
        load.measure(gateway.invocations, body, clients, WARM_UP_SECONDS)
        spawn = multiprocessing.get_context("spawn")
        over, (ours, theirs) = spawn.Event(), spawn.Pipe()
        driver = spawn.Process(target=_drive, args=(gateway.invocations, body, clients, over, theirs))
        driver.start()
        try:
            ours.recv()
            applied = [_change(gateway, old.id, new.id, n * 37 % 99 + 1) for n in range(changes)]
        finally:
            over.set()
        seen: load.Seen = ours.recv()
        driver.join()
    return seen, applied


def _drive(url: str, body: bytes, clients: int, over: Event, answer: Connection) -> None:
    answer.send("begun")
    answer.send(load.drive(url, body, clients, lambda: not over.is_set()))


def _change(gateway: stage.Gateway, old: str, new: str, weight: int) -> float:
    """Seconds until the split is in force."""
    split = (Share(old, "v1", 100 - weight), Share(new, "v2", weight))
    began = time.perf_counter()
    version = gateway.folder.write_routes({stage.ENDPOINT: split})
    while gateway.admin.applied_routes() != version:
        if time.perf_counter() - began > LIMIT_SECONDS:
            raise SystemExit(
                f"the gateway did not take routes {version} in {LIMIT_SECONDS:g} s; read its log"
            )
        time.sleep(STEP)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
