"""What a profile costs: a table in memory, Parquet larger than memory should be, and the sketch by itself.

    python -m benchmarks.monitoring.profiles [--rows 1000000 --rows 10000000] [--folder DIR] [--json]

The table has 20 columns: 8 floats (normal, uniform, with a long tail), 6 whole numbers of small and large
range, 6 texts with 3 to 200,000 different values; one value in fifty of four columns is null. In memory, 1,000,000
rows are profiled `--repeats` times. From disk, each number of `--rows` is written as Parquet, a million rows to a
file, and profiled by a process of its own, of which the peak memory is taken. The sketch is compared with
`kll_doubles_sketch(2048)` of datasketches on the same numbers: largest error of a rank over all values, bytes,
seconds. Fails when a process takes more than 1 GiB, or a sketch is worse than its bound.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import reduce
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import machine
from monitoring.profiles import Quantiles, scan
from monitoring.profiles.quantiles import union
from steps import profiling

MILLION = 1_000_000
LIMIT_MIB = 1024
TEXTS = (3, 12, 60, 1_000, 9_000, 200_000)
RANGES = (2, 10, 100, 10_000, 10**6, 10**12)
CUTS = ((1, MILLION), (24, 100_000), (720, 1_000))
"""Parts and numbers in each: one batch, a day of busy hours, a month of quiet ones."""


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, action="append", help="rows on disk; may be given several times")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the Parquet files go; they are removed afterwards")
    parser.add_argument("--child", type=Path, help="profile this folder, print the figures and end")
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(_streamed(asked.child)))
        return 0
    facts = machine.facts() | {name: metadata.version(name) for name in ("numpy", "polars", "datasketches")}
    memory = [_in_memory(MILLION, asked.repeats)]
    disk = [on_disk(rows, asked.folder) for rows in asked.rows or (MILLION, 10 * MILLION)]
    sketches = [one for parts, size in CUTS for one in _sketches(parts, size)]
    found = {"machine": facts, "memory": memory, "disk": disk, "sketches": sketches}
    machine.show(found, [memory, disk, sketches], as_json=asked.json)
    large = any(one["peak MiB"] > LIMIT_MIB for one in disk)
    return int(large or any(not one["kept"] for one in sketches))


def table(rows: int, seed: int) -> pl.DataFrame:
    """Rows of the benchmark's table."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for n in range(8):
        drawn = (rng.normal(n, 1 + n, rows), rng.random(rows), rng.lognormal(0, 2, rows))[n % 3]
        columns[f"float_{n}"] = pl.Series(drawn)
    for n, wide in enumerate(RANGES):
        columns[f"whole_{n}"] = pl.Series(rng.integers(0, wide, rows))
    for n, many in enumerate(TEXTS):
        names = pl.Series([f"{n}-{k:06d}" for k in range(many)])
        columns[f"text_{n}"] = names.gather((rng.random(rows) ** 2 * many).astype(np.uint32))
    holes = pl.Series(rng.random(rows) < 0.02)
    holed = [
        pl.when(~holes).then(pl.col(name)).alias(name) for name in ("float_0", "float_1", "whole_2", "text_1")
    ]
    return pl.DataFrame(columns).with_columns(holed)


def _in_memory(rows: int, repeats: int) -> dict[str, Any]:
    frame = table(rows, 0)
    taken, busy = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        made = scan.profile(frame)
        taken.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    return {
        "rows": rows,
        "columns": frame.width,
        "seconds": statistics.median(taken),
        "best": min(taken),
        "processor s": min(busy),
        "profile kB": len(made.to_bytes()) / 1000,
    }


def on_disk(rows: int, folder: Path | None) -> dict[str, Any]:
    """Write rows as Parquet, and what a process of its own needs for their profile; the files are removed."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        for part, start in enumerate(range(0, rows, MILLION)):
            piece = table(min(MILLION, rows - start), part)
            piece.write_parquet(place / f"{part:05d}.parquet", compression="snappy", row_group_size=1 << 17)
        size = sum(file.stat().st_size for file in place.iterdir())
        child = (sys.executable, "-m", "benchmarks.monitoring.profiles", "--child", name)
        seen = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
    return {"rows": rows, "Parquet MB": size / 1e6, **seen, "rows/s": rows / seen["seconds"]}


def _streamed(folder: Path) -> dict[str, Any]:
    start, cpu = time.perf_counter(), time.process_time()
    made = profiling.profile(folder)
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worst = max(column.numeric.quantiles.error for column in made.columns.values() if column.numeric)
    return {
        "seconds": seconds,
        "processor s": busy,
        "peak MiB": peak,
        "profile kB": len(made.to_bytes()) / 1000,
        "rank error": worst,
    }


def _sketches(parts: int, size: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(parts)
    batches = [rng.normal(size=size) for _ in range(parts)]
    values = np.sort(np.concatenate(batches))
    asked = values[:: max(1, values.size // 100_000)]
    truth = np.searchsorted(values, asked, side="right") / values.size

    def figures(name: str, error: float, bound: float, size: int, seconds: float) -> dict[str, Any]:
        numbers = {"error %": 100 * error, "bound %": 100 * bound, "kB": size / 1000, "seconds": seconds}
        return {
            "sketch": name,
            "batches": f"{parts} x {len(batches[0]):,}",
            **numbers,
            "kept": error <= bound,
        }

    shown = []
    for name, together in (("ours, at once", union), ("ours, one by one", _folded)):
        start = time.perf_counter()
        made = together([Quantiles.of(batch) for batch in batches])
        seconds = time.perf_counter() - start
        error = float(np.abs(made.cdf(asked) - truth).max())
        shown.append(figures(name, error, made.error, 8 * sum(map(len, made.compactors)), seconds))
    start = time.perf_counter()
    theirs = _theirs(batches)
    seconds = time.perf_counter() - start
    error = float(np.abs(np.array(theirs.get_cdf(np.unique(asked)[:-1], True))[:-1] - truth[:-1]).max())
    bound = theirs.normalized_rank_error(False)
    return [*shown, figures("datasketches", error, bound, len(theirs.serialize()), seconds)]


def _folded(sketches: list[Quantiles]) -> Quantiles:
    return reduce(Quantiles.merge, sketches)


def _theirs(batches: list[Any]) -> Any:
    import datasketches

    merged = datasketches.kll_doubles_sketch(2048)
    for batch in batches:
        one = datasketches.kll_doubles_sketch(2048)
        one.update(batch)
        merged.merge(one)
    return merged


if __name__ == "__main__":
    sys.exit(main())
