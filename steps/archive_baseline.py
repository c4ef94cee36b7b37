"""The baseline of an archive that no build of ours made: from its training data, or one that somebody has.

It lies in `baseline/` as in a package of a build, so that it is approved together with the model. It has what
inputs are like; quality, groups and attributions of such a model nobody measured here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from monitoring.drift import constraints as rules
from monitoring.drift.constraints import Constraints
from monitoring.profiles import ColumnProfile, Profile
from monitoring.records import Layout, layout_of
from monitoring.rows import PREDICTED, SCORE
from serving import package
from serving.manifest import Manifest
from steps import baseline_files, datasets
from steps.baseline import encoded
from steps.baseline_files import Known
from steps.baseline_folder import FOLDER, FOREST, NOTES, PROFILE
from steps.datasets import Choice
from steps.errors import DataRefused

_PART = "data quality"
"""The part of `notes.json` that this is."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A baseline that an archive has."""

    source: str
    """What it was made from; empty for the archive's own."""
    rows: int
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """As evidence tells it."""
        return {
            "source": self.source,
            "rows": self.rows,
            "columns": list(self.columns),
            "notes": list(self.notes),
        }


def put(folder: Path, source: Path, target: str = "") -> Brought:
    """Put a baseline into an unpacked archive, in the place of one that it may have.

    Args:
        folder: the archive.
        source: training data, or a folder with `statistics.json` and `constraints.json`.
        target: column of the data that the model predicts; empty when that is not known.

    Raises:
        DataRefused: it cannot be read, or does not describe what the model takes.
    """
    manifest = package.load_manifest(folder) if (folder / package.MANIFEST).is_file() else None
    if baseline_files.holds(source):
        known = baseline_files.read(source)
        known = _of_inputs(known, manifest) if manifest else known
    else:
        known = _of_data(source, manifest, target)
    known, out = _with_answers(known, folder), folder / FOLDER
    (out / FOREST).unlink(missing_ok=True)  # it knows the rows of other data
    baseline_files.leave(known.files() | {NOTES: _notes(out / NOTES, known.notes)}, out)
    return Brought(source.name, known.profile.rows, tuple(known.profile.columns), known.notes)


def own(folder: Path) -> Brought | None:
    """The baseline that an unpacked archive brings; None when it has none.

    Raises:
        DataRefused: it cannot be used.
    """
    if not baseline_files.holds(folder / FOLDER):
        return None
    known = baseline_files.read(folder / FOLDER)
    notes = known.notes
    if not (folder / FOLDER / PROFILE).is_file():
        notes += (f"monitors compare with {FOLDER}/{PROFILE}, which is not there: give the baseline again",)
    return Brought("", known.profile.rows, tuple(known.profile.columns), notes)


def _with_answers(known: Known, folder: Path) -> Known:
    """With what the archive's own baseline says of predicted labels and scores: the model is the same."""
    try:
        own = baseline_files.read(folder / FOLDER) if baseline_files.holds(folder / FOLDER) else known
    except DataRefused:
        return known
    names = [
        name
        for name in (PREDICTED, SCORE)
        if name in own.profile.columns and name not in known.profile.columns
    ]
    columns = {**known.profile.columns, **{name: own.profile.columns[name] for name in names}}
    features = tuple(one for one in own.constraints.features if one.name in names)
    wanted = replace(known.constraints, features=(*known.constraints.features, *features))
    return replace(known, profile=Profile(known.profile.rows, columns), constraints=wanted)


def requests(folder: Path) -> Layout:
    """What is known of requests to an unpacked version: from its manifest, else from its baseline.

    Rows without names are then columns of the baseline, in its order, as SageMaker reads them. Empty when
    there is neither.

    Raises:
        ServingError: the manifest cannot be used.
        DataRefused: the baseline cannot be used.
    """
    if (folder / package.MANIFEST).is_file():
        return layout_of(package.load_manifest(folder))
    if not baseline_files.holds(folder):
        return Layout()
    known = baseline_files.read(folder).profile
    return Layout(
        tuple(
            (name, "double" if column.kind == "numeric" else "string")
            for name, column in known.columns.items()
            if not name.startswith("@")
        )
    )


def _of_data(source: Path, manifest: Manifest | None, target: str) -> Known:
    """Columns that are no inputs are left out; without a manifest all but the target are."""
    if manifest is None:
        return _without(baseline_files.suggest(datasets.profile(source)), (target,))
    numeric = tuple(one.name for one in manifest.inputs if one.type == "double")
    texts = tuple(one.name for one in manifest.inputs if one.type == "string")
    profile = datasets.profile(source, Choice((), numeric, texts, all_there=False))
    known = _of_inputs(baseline_files.suggest(profile), manifest)
    for name in numeric:
        column = profile.columns.get(name)
        if column is not None and (wrong := column.present - _numbers(column)):
            raise DataRefused(
                f"the model takes numbers as {name}, and {wrong:,} values of it in {source.name} are none; "
                "give the data that it was trained on"
            )
    return replace(known, constraints=rules.suggest(known.profile))


def _numbers(column: ColumnProfile) -> int:
    return column.numeric.moments.n + column.numeric.infinite if column.numeric else 0


def _of_inputs(known: Known, manifest: Manifest) -> Known:
    """What a baseline says of a model's inputs, as live rows show them: every number has a fraction.

    Raises:
        DataRefused: it says nothing of an input.
    """
    names = [one.name for one in manifest.inputs]
    if lacking := [name for name in names if name not in known.profile.columns]:
        there = ", ".join(list(known.profile.columns)[:20])
        raise DataRefused(
            f"the baseline has no column {', '.join(lacking)}, which the model takes; it has {there}"
        )
    numbers = {one.name for one in manifest.inputs if one.type == "double"}
    names += [name for name in (PREDICTED, SCORE) if name in known.profile.columns]
    columns = {
        name: _as_numbers(known.profile.columns[name]) if name in numbers else known.profile.columns[name]
        for name in names
    }
    others = tuple(name for name in known.profile.columns if name not in columns)
    found = _without(known, others)
    features = _as_fractions(found.constraints, numbers)
    return replace(found, profile=Profile(known.profile.rows, columns), constraints=features)


def _as_numbers(column: ColumnProfile) -> ColumnProfile:
    types = column.types
    whole = replace(
        types, integral=0, boolean=0, fractional=types.fractional + types.integral + types.boolean
    )
    return replace(column, types=whole)


def _as_fractions(constraints: Constraints, numbers: set[str]) -> Constraints:
    """Whole numbers reach the model as numbers with a fraction, so that type is what live rows have."""
    features = tuple(
        replace(one, inferred_type="Fractional")
        if one.name in numbers and one.inferred_type in {"Integral", "Boolean"}
        else one
        for one in constraints.features
    )
    return replace(constraints, features=features)


def _without(known: Known, names: Sequence[str]) -> Known:
    """A baseline without some columns, which a note names."""
    gone = [name for name in known.profile.columns if name in names]
    features = tuple(one for one in known.constraints.features if one.name not in names)
    said = (f"left out, as the model does not take them: {', '.join(gone)}",) if gone else ()
    return Known(
        known.profile.without(*names),
        replace(known.constraints, features=features),
        (*known.notes, *said),
    )


def _notes(file: Path, said: Sequence[str]) -> bytes:
    """`notes.json` with what is to be said of this part."""
    return encoded(dict(_other_notes(file)) | ({_PART: list(said)} if said else {}))


def _other_notes(file: Path) -> Iterator[tuple[str, object]]:
    if not file.is_file():
        return
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise DataRefused(f"{file.name} of the archive's own baseline is not JSON: {error}") from error
    if isinstance(found, dict):
        yield from ((name, value) for name, value in found.items() if name != _PART)
