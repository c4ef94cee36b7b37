"""What a second worker brings to a batch transform: the same files by one worker and by two.

    python -m benchmarks.serving.transform_workers [--rows 600000] [--rounds 3] [--dask] [--json]

Workers are processes of this machine, each with a model server of its own, started anew each time, which counts.
`--dask` takes the processes of a Dask cluster instead; the cluster is there before, its model servers are not. One
and two workers take turns. The ratio is that of the medians of their seconds; processor seconds say whether somebody
else used the machine: where they are alike and the ratio is small, the cores were not there. One worker uses more
than one core already (it cuts and writes while its server predicts), so two on two cores cannot be twice as fast.
The script stops unless both write the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import machine, stage
from benchmarks.serving.transform import AT, FILES, cpu_seconds, job, write
from serving import package
from steps.transform.port import Model, Runner
from steps.transform.processes import Processes
from steps.transform.run import transform

WORKERS = (1, 2)


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--payload", type=int, default=1, help="MiB of a payload")
    parser.add_argument("--dask", action="store_true", help="workers of a Dask cluster")
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        rounds = list(_measure(Path(name), asked.rows, asked.rounds, asked.payload, dask=asked.dask))
    figures = [_figure(workers, rounds, asked.rows) for workers in WORKERS]
    ratio = figures[0]["seconds"] / figures[1]["seconds"]
    if not asked.json:
        print(f"two workers take {asked.rows:,} rows in {FILES} files {ratio:.2f} times as fast as one\n")
    result = {"ratio": ratio, "machine": facts, "figures": figures, "rounds": rounds}
    machine.show(result, [figures, rounds], as_json=asked.json)
    return 0


def _figure(workers: int, rounds: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    mine = [one for one in rounds if one["workers"] == workers]
    seconds = statistics.median(one["seconds"] for one in mine)
    best = min(one["seconds"] for one in mine)
    return {"workers": workers, "seconds": seconds, "best": best, "rows/s": rows / seconds}


def _measure(folder: Path, rows: int, rounds: int, payload: int, *, dask: bool) -> Iterator[dict[str, Any]]:
    built = stage.build(folder)
    model = Model(folder / "model.tar.gz", package.write(built.package, folder / "model.tar.gz"))
    write(folder, built, rows)
    wanted = ""
    for number in range(1, rounds + 1):
        for workers in WORKERS:
            asked = job("workers", folder / "many", folder / "out", payload)
            with _runner(workers, dask=dask) as runner:
                began, used = time.perf_counter(), cpu_seconds()
                ended = transform(asked, model, runner, folder / "job", AT)
                seconds = time.perf_counter() - began
            used = cpu_seconds() - used
            if ended.status != "Completed" or ended.progress.records != rows:
                raise SystemExit(f"{workers} workers: {ended.failures or ended.progress}")
            found = _digest(folder / "out")
            if (wanted := wanted or found) != found:
                raise SystemExit(f"{workers} workers wrote other bytes; there is nothing to compare")
            for made in ("out", "job"):
                shutil.rmtree(folder / made)
            yield {"round": number, "workers": workers, "seconds": seconds, "cpu s": used}


@contextmanager
def _runner(workers: int, *, dask: bool) -> Iterator[Runner]:
    if not dask:
        yield Processes(workers)
        return
    from distributed import LocalCluster

    from steps.transform.dask import Dask

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    ) as cluster:
        yield Dask(cluster.scheduler_address)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
