"""Requests of people whom no build has seen, and what they earned: files to send, and labels to import.

    python examples/adult/traffic.py ordinary traffic/ordinary

Each kind takes other people. `few-women` leaves out three of four women: another composition, the same world.
`new-form` enters every wife as unmarried: another relation between what is asked and what is true.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
from adult import NUMBERS, TEXTS, features, people

AT_ONCE = 100
"""People in one request."""
PLACES: Mapping[str, tuple[int, int]] = {
    "ordinary": (36_000, 39_000),
    "few-women": (39_000, 42_000),
    "new-form": (42_000, 45_222),
}


def rows(kind: str) -> pl.DataFrame:
    """People with their labels, as this kind of traffic has them."""
    return _CHANGES[kind](features(people(*PLACES[kind])))


def _few_women(rows: pl.DataFrame) -> pl.DataFrame:
    fourth = pl.int_range(pl.len()) % 4 == 0
    return rows.filter((pl.col("sex") != "Female") | fourth)


def _new_form(rows: pl.DataFrame) -> pl.DataFrame:
    wife = pl.col("relationship") == "Wife"
    return rows.with_columns(
        marital_status=pl.when(wife).then(pl.lit("Never-married")).otherwise("marital_status"),
        relationship=pl.when(wife).then(pl.lit("Unmarried")).otherwise("relationship"),
    )


_CHANGES: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "ordinary": lambda rows: rows,
    "few-women": _few_women,
    "new-form": _new_form,
}


def write(kind: str, folder: Path) -> int:
    """Leave one file for each request, named by its inference id, and `labels.csv`; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    found, labels = rows(kind), []
    for number, part in enumerate(found.iter_slices(AT_ONCE)):
        name = f"{kind}-{number:03}"
        request = {"instances": part.select(*NUMBERS, *TEXTS).to_dicts()}
        (folder / f"{name}.json").write_text(json.dumps(request) + "\n")
        places = pl.int_range(part.height, eager=True)
        labels.append(
            pl.DataFrame({"row": places, "label": part["above_50k"]}).with_columns(inference_id=pl.lit(name))
        )
    pl.concat(labels).write_csv(folder / "labels.csv")
    return len(labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=PLACES)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    print(f"{write(asked.kind, asked.folder)} requests of at most {AT_ONCE} people")  # noqa: T201
