"""Drift and bias of the same tables by Seaway, Evidently, NannyML, whylogs, Great Expectations and smclarify.

    python -m benchmarks.monitoring.peers [--rows 1000000] [--rounds 3] [--quick] [--only NAME] [--json] [--page]

Drift: a reference and a window of 14 columns of numbers and 6 of texts, three of the numbers shifted by 0.6
standard deviations. Bias: people with three facets, label and prediction; every metric but the flip test. Each
peer runs from a virtual environment of its own, which the script makes with uv from the pinned files in
`requirements/` and keeps in the cache folder. Each turn is a new process: it imports, reads the Parquet files,
and measures only the work, once, with nothing warm. `reference` is what is done once for a model and `window`
what is done for every window. All take turns. A peer that cannot be installed, or does not end within
`--limit` seconds, is reported and left out. Evidently takes minutes for 1,000,000 rows; `--quick` uses 100,000.

`--page` writes the table and the plot to `docs/`. Exit status 1 when an installed peer fails, or Seaway finds other
columns shifted, or other figures of bias, than it must.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import machine, venvs
from benchmarks.monitoring.peers import contenders, page, report, tables
from benchmarks.monitoring.peers.contenders import OURS, PEERS, Contender, NotInstalled, TooSlow, Unavailable

Turns = dict[Contender, list[Mapping[str, Any]]]


def main() -> int:
    asked = _options().parse_args()
    if asked.quick:
        asked.rows, asked.rounds = 100_000, 1
    chosen = [one for one in PEERS if not asked.only or one.name in asked.only]
    versions = {name: metadata.version(name) for name in ("numpy", "polars")}
    missing: dict[str, str] = {}
    ready = dict(_ready(chosen, asked.venvs, missing))
    facts = machine.facts() | versions
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        tables.write(Path(name), asked.rows)
        turns, broken = _turns(ready, Path(name), asked, missing)
    result = {
        "machine": {**facts, "load after": machine.facts()["load"]},
        "rows": asked.rows,
        "rounds": asked.rounds,
        "peers": {one.name: venvs.versions(one.requirements) for one in chosen},
        "figures": report.figures(turns),
        "missing": missing,
        "broken": [*broken, *report.wrong(turns)],
    }
    if asked.page:
        page.write(result)
    print(json.dumps(result, indent=1) if asked.json else report.text(result))
    return int(bool(result["broken"]))


def _options() -> argparse.ArgumentParser:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--quick", action="store_true", help="one round with 100,000 rows: only a trial")
    parser.add_argument("--limit", type=float, default=1200, help="seconds that a turn may take")
    parser.add_argument("--venvs", type=Path, default=venvs.cache(), help="folder of the environments")
    parser.add_argument("--folder", type=Path, help="where the tables go; they are removed afterwards")
    parser.add_argument(
        "--only", action="append", default=[], help="a peer by name; several times for several"
    )
    parser.add_argument("--page", action="store_true", help="write docs/explanation/monitoring-benchmark.md")
    return parser


def _ready(
    chosen: Sequence[Contender], folder: Path, missing: dict[str, str]
) -> Iterator[tuple[Contender, Path]]:
    """Who can take part, with the interpreter of each; ours at the tasks that they do."""
    found = {}
    for one in chosen:
        try:
            found[one] = contenders.python(one, folder)
        except NotInstalled as error:
            missing[one.name] = str(error)
    tasks = {one.task for one in found} or {one.task for one in OURS}
    yield from ((one, Path(sys.executable)) for one in OURS if one.task in tasks)
    yield from found.items()


def _turns(
    ready: Mapping[Contender, Path], folder: Path, asked: argparse.Namespace, missing: dict[str, str]
) -> tuple[Turns, list[str]]:
    """What each measured in each round, and who failed."""
    turns: Turns = {one: [] for one in ready}
    broken = []
    for _ in range(asked.rounds):
        for one in list(turns):
            try:
                seen = contenders.turn(one, ready[one], folder, asked.limit)
            except Unavailable as error:
                del turns[one]
                missing[one.name] = str(error)
                broken += [] if isinstance(error, TooSlow) else [f"{one.name} {error}"]
                continue
            turns[one].append({**seen, "load": os.getloadavg()[0]})
    return turns, broken


if __name__ == "__main__":
    sys.exit(main())
