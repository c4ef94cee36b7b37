"""Great Expectations suites as files: from the constraints of a baseline, and back into constraints.

Types that only pandas has are added here and taken out again: nullable ones, and `float64` for whole numbers
with gaps, which is what pandas makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monitoring.drift import constraints as rules
from monitoring.drift import expectations
from monitoring.drift.constraints import Constraints
from monitoring.drift.expectations import FromSuite, Suite
from monitoring.drift.settings import ConstraintsError, Settings
from steps.baseline_files import constraints_in, leave, read_constraints, readable
from steps.errors import DataRefused

_NULLABLE = {
    "int64": "Int64Dtype",
    "int32": "Int32Dtype",
    "float64": "Float64Dtype",
    "float32": "Float32Dtype",
    "bool": "BooleanDtype",
}
"""By numpy's name, what Great Expectations calls the type of pandas that may have gaps."""
_GAPS = "float64"
_META = "added_types"


def export(source: Path, out: Path, name: str = "") -> Suite:
    """Write the suite that says what a constraints file says.

    Args:
        source: `constraints.json`, or a folder with it.
        out: file for the suite.
        name: of the suite; the file's when empty.

    Raises:
        DataRefused: the constraints cannot be read, or the suite not be written.
    """
    made = suite(read_constraints(file_of(source)), name or out.stem)
    leave({out.name: readable(made.document)}, out.parent)
    return made


def suite(constraints: Constraints, name: str) -> Suite:
    """The suite of constraints, for data in pandas."""
    made = expectations.suite(constraints, name)
    partly = {
        one.name for one in constraints.features if one.completeness is not None and one.completeness < 1
    }
    listed = [_with_types(one, partly) for one in made.document["expectations"]]
    weaker = tuple(
        f"{one['kwargs']['column']}: that numbers are whole, where pandas has them as float64 because some "
        "are missing; call convert_dtypes() first"
        for one in listed
        if _GAPS in one["meta"].get(_META, ())
    )
    return Suite({**made.document, "expectations": listed}, (*made.unsaid, *weaker))


def take_in(file: Path, like: Path | None = None) -> FromSuite:
    """The constraints that a suite says.

    Args:
        file: the suite.
        like: constraints, or a folder with them, whose thresholds hold where the suite says nothing.

    Raises:
        DataRefused: a file cannot be read.
    """
    settings: Settings | None = read_constraints(file_of(like)).settings if like else None
    try:
        document = json.loads(file.read_bytes())
        return expectations.constraints(_plain(document), settings)
    except FileNotFoundError:
        raise DataRefused(f"there is no {file}; give the JSON file of a suite") from None
    except ConstraintsError as error:
        raise DataRefused(f"{file} is no suite of Great Expectations: {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise DataRefused(f"{file} cannot be read as a suite: {error}") from error


def file_of(place: Path) -> Path:
    """`constraints.json` itself, given it or its folder."""
    return constraints_in(place) if place.is_dir() else place


def written(constraints: Constraints, out: Path) -> Path:
    """Write a constraints file."""
    return leave({out.name: readable(rules.document(constraints))}, out.parent)[0]


def _with_types(expectation: Mapping[str, Any], partly: set[str]) -> dict[str, Any]:
    made = dict(expectation)
    if made["type"] != expectations.TYPES:
        return made
    known = list(made["kwargs"]["type_list"])
    whole = _GAPS not in known and "int64" in known
    added = [_NULLABLE[one] for one in known if one in _NULLABLE]
    added += [_GAPS] if whole and made["kwargs"]["column"] in partly else []
    kwargs = {**made["kwargs"], "type_list": known + added}
    return {**made, "kwargs": kwargs, "meta": {**made["meta"], _META: added}}


def _plain(document: Any) -> Any:
    """A suite without the types that `suite` added."""
    listed = document.get("expectations") if isinstance(document, dict) else None
    return document if not isinstance(listed, list) else {**document, "expectations": list(_without(listed))}


def _without(listed: list[Any]) -> Iterator[Any]:
    for one in listed:
        meta = one.get("meta") if isinstance(one, dict) else None
        kwargs = one.get("kwargs") if isinstance(one, dict) else None
        known = kwargs.get("type_list") if isinstance(kwargs, dict) else None
        if not isinstance(kwargs, dict) or not isinstance(known, list):
            yield one
            continue
        added = {_GAPS} & set(meta.get(_META) or ()) if isinstance(meta, dict) else set()
        kept = [name for name in known if name not in added and name not in _NULLABLE.values()]
        yield {**one, "kwargs": {**kwargs, "type_list": kept}}
