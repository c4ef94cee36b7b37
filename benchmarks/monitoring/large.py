"""Does a profile of Parquet take time in proportion to its rows, and no more memory for more of them?

    python -m benchmarks.monitoring.large [--rows 1000000 --rows 10000000] [--folder DIR] [--json]

Add `--rows 100000000` for the goal: 100,000,000 rows of 20 columns in 1 GiB. That takes about 10 GB of disk
and the files are removed. The table and the process that profiles it are those of
`benchmarks.monitoring.profiles`. Only the profile depends on the rows of a window: what compares it with the
baseline's does not see them. Fails when a process takes more than 1 GiB, or when a row of the largest table
takes half as much processor time again as one of the smallest.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from benchmarks import machine
from benchmarks.monitoring import profiles

SIZES = (profiles.MILLION, 10 * profiles.MILLION)
STEEPEST = 1.5


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--rows", type=int, action="append", help="may be given several times")
    parser.add_argument("--folder", type=Path, help="where the Parquet files go; they are removed afterwards")
    asked = parser.parse_args()
    facts = machine.facts() | {name: metadata.version(name) for name in ("numpy", "polars", "pyarrow")}
    found = [profiles.on_disk(rows, asked.folder) for rows in sorted(asked.rows or SIZES)]
    shown = [
        {
            **one,
            "us/row": 1e6 * one["seconds"] / one["rows"],
            "processor us/row": 1e6 * one["processor s"] / one["rows"],
        }
        for one in found
    ]
    facts["load after"] = machine.facts()["load"]
    machine.show({"machine": facts, "sizes": shown}, [shown], as_json=asked.json)
    steep = shown[-1]["processor us/row"] > STEEPEST * shown[0]["processor us/row"]
    return int(steep or any(one["peak MiB"] > profiles.LIMIT_MIB for one in shown))


if __name__ == "__main__":
    sys.exit(main())
