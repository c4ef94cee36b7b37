"""How many captured records become rows in a second, one core and all, whatever clients have sent.

    python -m benchmarks.monitoring.decoding [--records 200000] [--folder DIR] [--json]

Records are written by the recorder's own code: one row of 15 inputs each, answered as JSON. `decoding` is from
lines to a table, on one core; `hours` is from capture files of six hours to sealed hours with their profiles,
with as many processes as there are cores, their start included. `mixed` alternates encodings, has clients'
own ids, and a broken record in every thousand. Best of the rounds. Fails when `hours` of CSV are slower than
200,000 records a second.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from benchmarks import machine
from monitoring.records import Layout, decode
from serving.capture import Exchange, place
from serving.capture.record import line
from serving.capture.settings import parse
from steps.hours import AT_ONCE, Stock, bring, window

ROUNDS = 3
HOURS = 6
GOAL = 200_000
START = datetime(2026, 11, 23, 6, tzinfo=UTC)
NUMBERS, TEXTS = tuple(f"n{one}" for one in range(12)), ("region", "plan", "device")
LAYOUT = Layout(
    (*((name, "double") for name in NUMBERS), *((name, "string") for name in TEXTS)), "binary", (0, 1)
)
SETTINGS = parse('{"destination": "/captures"}')
KINDS = ("csv", "json", "mixed")


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--records", type=int, default=200_000, help="of each kind and hour")
    parser.add_argument("--folder", type=Path, help="where the hours go; they are removed afterwards")
    parser.add_argument("--one-core", choices=KINDS, help="only what one core decodes, of this kind")
    asked = parser.parse_args()
    if asked.one_core:
        print(_one_core(records(asked.one_core, asked.records)))
        return 0
    facts = machine.facts() | {name: metadata.version(name) for name in ("polars", "pyarrow", "orjson")}
    found = [_measured(kind, asked.records, asked.folder) for kind in KINDS]
    facts["load after"] = machine.facts()["load"]
    machine.show({"machine": facts, "records": found}, [found], as_json=asked.json)
    return int(found[0]["hours, records/s"] < GOAL)


def records(kind: str, count: int, hour: int = 0) -> list[bytes]:
    """Lines of the captures of an hour, without their ends."""
    draw = random.Random(hour)
    first = (START + timedelta(hours=hour)).timestamp()
    return [_record(draw, kind, number, first + number % 3600) for number in range(count)]


def _record(draw: random.Random, kind: str, number: int, at: float) -> bytes:
    cells = [
        draw.randrange(100_000) if n % 2 else float(f"{draw.gauss(0, 1):.6g}") for n in range(len(NUMBERS))
    ]
    row = [*cells, *(draw.choice(("north", "east", "south", "west")) for _ in TEXTS)]
    if kind == "json" or (kind == "mixed" and number % 2):
        named = dict(zip((*NUMBERS, *TEXTS), row, strict=True))
        body, media = orjson.dumps({"instances": [named]}), "application/json"
    else:
        body, media = ",".join(map(str, row)).encode(), "text/csv"
    score = draw.random()
    answer = b'{"predictions":[{"predicted_label":%d,"score":%.6f}]}' % (score > 0.5, score)
    own = f"order-{number}" if kind == "mixed" and number % 3 == 0 else ""
    event = f"{draw.getrandbits(128):032x}"
    made = line(Exchange(event, at, media, body, "application/json", answer, own), SETTINGS)[:-1]
    return made[: len(made) // 2] if kind == "mixed" and number % 1000 == 999 else made


def _measured(kind: str, count: int, folder: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.monitoring.decoding", "--one-core", kind]
    alone = subprocess.run([*command, "--records", str(count)], capture_output=True, check=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        captures = Path(name) / "captures" / "late" / "v1"
        for hour in range(HOURS):
            at = START + timedelta(hours=hour)
            file = captures / f"{at:%Y/%m/%d/%H}" / f"{at:%M-%S-000}-benchmark.jsonl"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"".join(one + b"\n" for one in records(kind, count, hour)))
        size = sum(file.stat().st_size for file in captures.rglob("*.jsonl"))
        seconds = _best(lambda number: _bring(Path(name), number, HOURS * count))
    return {
        "kind": kind,
        "records": HOURS * count,
        "bytes/record": size / HOURS / count,
        "decoding, records/s, one core": float(alone.stdout),
        "hours, records/s": HOURS * count / seconds,
    }


def _one_core(lines: list[bytes]) -> float:
    """Records a second of processor time, so that threads of libraries count as what they cost."""
    best = 0.0
    for _ in range(ROUNDS):
        started = time.process_time()
        for first in range(0, len(lines), AT_ONCE):
            decode(lines[first : first + AT_ONCE], LAYOUT, "v1")
        best = max(best, len(lines) / (time.process_time() - started))
    return best


def _bring(home: Path, number: int, expected: int) -> None:
    stock = Stock(
        home / f"round-{number}", place(home / "captures").within("late"), layout=lambda _variant: LAYOUT
    )
    span = START, START + timedelta(hours=HOURS)
    bring(stock, "v1", *span)
    if window(stock.root, "v1", *span).records != expected:
        raise SystemExit("records were lost")


def _best(run: Callable[[int], None]) -> float:
    seconds = []
    for number in range(ROUNDS):
        started = time.perf_counter()
        run(number)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    sys.exit(main())
