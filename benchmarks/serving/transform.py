"""Batch transform of a large CSV file, and a loop of pandas and scikit-learn over the same file.

    python -m benchmarks.serving.transform [--rows 300000] [--json]

The file holds flights without a header. `seaway` sends it through model servers with the compiled package, 4 payloads
in flight to each: one file, which one server takes alone, and the same rows as 8 files on 1 and on 2 servers. `loop`
reads 10,000 rows at a time with `pandas.read_csv`, predicts with the trained scikit-learn pipeline and writes label
and score with `to_csv`; numeric libraries use as many threads as they like. Servers are started anew each time,
which counts; the loop's imports do not. The script stops unless scores agree to 1e-4.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, stage
from serving import package
from steps.transform.job import CSV, Job, TransformInput, TransformOutput
from steps.transform.port import Model
from steps.transform.processes import Processes
from steps.transform.run import transform

FILES = 8
CHUNK = 10_000
IN_FLIGHT = 4
AT = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--payload", type=int, default=1, help="MiB of a payload")
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        figures = list(_measure(Path(name), asked.rows, asked.payload))
    loop = figures[-1]["rows/s"]
    rows = [{**one, "of loop": one["rows/s"] / loop} for one in figures]
    machine.show({"machine": facts, "figures": rows}, [rows], as_json=asked.json)
    return 0


def _measure(folder: Path, rows: int, payload: int) -> Iterator[dict[str, Any]]:
    built = stage.build(folder)
    digest = package.write(built.package, folder / "model.tar.gz")
    model = Model(folder / "model.tar.gz", digest)
    size = write(folder, built, rows)
    outputs = []
    for title, where, workers in (
        ("1 file, 1 worker", "one", 1),
        ("8 files, 1 worker", "many", 1),
        ("8 files, 2 workers", "many", 2),
    ):
        name = title.replace(" ", "-").replace(",", "")
        asked = job(name, folder / where, folder / name, payload)
        began, used = time.perf_counter(), cpu_seconds()
        ended = transform(asked, model, Processes(workers), folder / f"job-{name}", AT)
        seconds, used = time.perf_counter() - began, cpu_seconds() - used
        if ended.status != "Completed" or ended.progress.records != rows:
            raise SystemExit(f"{title}: {ended.failures or ended.progress}")
        outputs.append(folder / name)
        yield _figure(f"seaway, {title}", rows, size, (seconds, used))
    yield _figure("loop", rows, size, _loop(folder, built))
    _same(folder, outputs)


def job(name: str, source: Path, output: Path, payload: int) -> Job:
    """Rows of CSV in payloads of so many MiB, four in flight to each model server."""
    return Job(
        name,
        "late-arrivals/1",
        TransformInput(str(source), content_type=CSV, split_type="Line"),
        TransformOutput(str(output), CSV, "Line"),
        max_payload_in_mb=payload,
        max_concurrent_transforms=IN_FLIGHT,
    )


def _figure(who: str, rows: int, size: int, took: tuple[float, float]) -> dict[str, Any]:
    seconds, used = took
    return {
        "who": who,
        "seconds": seconds,
        "rows/s": rows / seconds,
        "MiB/s": size / 2**20 / seconds,
        "cpu s": used,
        "rows/cpu s": rows / used,
    }


def cpu_seconds() -> float:
    """Processor seconds of this process and of those it has waited for: less open to a busy machine."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def write(folder: Path, built: stage.Built, rows: int) -> int:
    """The rows as one file, and as many with the same order; bytes in all."""
    import polars as pl

    from flows.making import Making

    making = Making.of(stage.PROJECT, folder / "runs")
    names = [item.name for item in package.load_manifest(built.package).inputs]
    table = pl.read_parquet(making.process().folder / "table.parquet").select(names)
    table = pl.concat([table] * (rows // table.height + 1)).head(rows)
    (folder / "one").mkdir()
    (folder / "many").mkdir()
    table.write_csv(folder / "one" / "flights.csv", include_header=False)
    part = -(-rows // FILES)
    for number in range(FILES):
        table.slice(number * part, part).write_csv(folder / "many" / f"{number}.csv", include_header=False)
    return (folder / "one" / "flights.csv").stat().st_size


def _loop(folder: Path, built: stage.Built) -> tuple[float, float]:
    import pandas as pd

    from steps import train

    inputs = package.load_manifest(built.package).inputs
    texts = {item.name: str for item in inputs if item.type == "string"}
    model = train.load(built.trained, stage.PROJECT.parent)
    began, used = time.perf_counter(), cpu_seconds()
    with (folder / "loop.csv").open("w") as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the encoder was trained without column names
        frames = pd.read_csv(
            folder / "one" / "flights.csv", names=[item.name for item in inputs], dtype=texts, chunksize=CHUNK
        )
        for frame in frames:
            scores = model.predict_proba(frame)[:, 1]
            found = pd.DataFrame({"label": (scores >= 0.5).astype(int), "score": scores})
            found.to_csv(out, header=False, index=False)
    return time.perf_counter() - began, cpu_seconds() - used


def _same(folder: Path, outputs: list[Path]) -> None:
    """Stops when scores differ."""
    import polars as pl

    def scores(files: list[Path]) -> pl.Series:
        return pl.concat([pl.read_csv(file, has_header=False) for file in sorted(files)]).to_series(1)

    theirs = scores([folder / "loop.csv"])
    for output in outputs:
        furthest = (scores(list(output.glob("*.out"))) - theirs).abs().max()
        if not isinstance(furthest, float) or furthest > 1e-4:
            raise SystemExit(
                f"{output.name} differs from the loop by {furthest}; there is nothing to compare"
            )


if __name__ == "__main__":
    sys.exit(main())
