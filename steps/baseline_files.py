"""A baseline as a folder of files: suggested from data, read back whoever wrote it, held against other data.

`statistics.json` and `constraints.json` are Model Monitor's. `profile.bin` beside them has what the first
leaves out (every category, the whole sketch); it is used as long as it says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitoring.drift import constraints as rules
from monitoring.drift.analysis import analyse
from monitoring.drift.constraints import Constraints, FeatureConstraints
from monitoring.drift.settings import ConstraintsError, Settings
from monitoring.drift.shares import Rule
from monitoring.findings import Finding
from monitoring.profiles import Profile, statistics
from monitoring.profiles.errors import ProfileUnreadable
from steps.baseline import encoded
from steps.baseline_folder import CONSTRAINTS, FOLDER, PROFILE, STATISTICS
from steps.datasets import Choice
from steps.errors import DataRefused

VIOLATIONS = "constraint_violations.json"


@dataclass(frozen=True, slots=True)
class Known:
    """What data were like, and what later data must meet."""

    profile: Profile
    constraints: Constraints
    notes: tuple[str, ...] = ()
    """What a reader must know of how it was read."""

    def files(self) -> dict[str, bytes]:
        """The files of its folder, by name; the same for the same baseline."""
        return {
            STATISTICS: encoded(statistics.document(self.profile)),
            CONSTRAINTS: readable(rules.document(self.constraints)),
            PROFILE: self.profile.to_bytes(),
        }


def suggest(profile: Profile) -> Known:
    """The baseline that the data of a profile suggest; they meet it themselves."""
    return Known(profile, rules.suggest(profile))


def holds(place: Path) -> bool:
    """Whether a folder holds a baseline."""
    return (_folder(place) / STATISTICS).is_file()


def read(place: Path) -> Known:
    """A baseline from its folder, or from the package that it lies in.

    Without `constraints.json` the constraints are those that the statistics suggest.

    Raises:
        DataRefused: there is none, or a file of it cannot be used; the message says which.
    """
    folder = _folder(place)
    content = _json(folder / STATISTICS)
    profile, notes = _profile(folder, content)
    file = folder / CONSTRAINTS
    if not file.is_file():
        said = f"{folder.name} has no {CONSTRAINTS}: constraints were suggested from {STATISTICS}"
        return Known(profile, rules.suggest(profile), (*notes, said))
    return Known(profile, read_constraints(file), notes)


def read_constraints(file: Path) -> Constraints:
    """A constraints file.

    Raises:
        DataRefused: it is none.
    """
    try:
        return rules.read(_json(file))
    except (ConstraintsError, TypeError, ValueError) as error:
        raise DataRefused(f"{file} is no {CONSTRAINTS}: {error}") from error


def write(known: Known, out: Path) -> tuple[Path, ...]:
    """Leave a baseline's files in a folder, which is made if need be.

    Raises:
        DataRefused: the folder cannot be written.
    """
    return leave(known.files(), out)


def leave(content: Mapping[str, bytes], out: Path) -> tuple[Path, ...]:
    """Write files into a folder, which is made if need be.

    Raises:
        DataRefused: that cannot be done.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, one in content.items():
            (out / name).write_bytes(one)
    except OSError as error:
        raise DataRefused(
            f"{out} cannot be written ({error.strerror or error}); give another folder"
        ) from error
    return tuple(out / name for name in content)


def reading(known: Known, exclude: tuple[str, ...] = ()) -> Choice:
    """How data must be read to be comparable with a baseline: columns as it has them.

    Args:
        known: the baseline.
        exclude: columns that are not looked at.
    """
    kinds = {
        name: column.kind
        for name, column in known.profile.columns.items()
        if column.present and name not in exclude
    }
    numeric = tuple(name for name, kind in kinds.items() if kind == "numeric")
    categorical = tuple(name for name, kind in kinds.items() if kind == "categorical")
    return Choice(exclude, numeric, categorical, all_there=False)


def compare(
    known: Known, window: Profile, exclude: tuple[str, ...] = (), rule: Rule | None = None
) -> Finding:
    """Hold data against a baseline; a finding of kind `DataQuality`.

    Args:
        known: the baseline.
        window: profile of the data, read as `reading` says.
        exclude: columns that are not looked at.
        rule: how shares are held against their constraints; by evidence when None, and as numbers where
            somebody has changed what the baseline suggests.
    """
    features = tuple(one for one in known.constraints.features if one.name not in exclude)
    wanted = replace(known.constraints, features=features)
    rule = rule or Rule(given=edited(known))
    return analyse(known.profile.without(*exclude), wanted, window.without(*exclude), rule=rule)


def edited(known: Known) -> dict[str, set[str]]:
    """By column, the constraints that differ from what the profile suggests: somebody has set them."""
    suggested = {one.name: one for one in rules.suggest(known.profile).features}
    found = {
        one.name: set(_changes(one, suggested.get(one.name)))
        | _thresholds(known.constraints.settings_of(one.name))
        for one in known.constraints.features
    }
    return {name: changed for name, changed in found.items() if changed}


def _changes(feature: FeatureConstraints, suggested: FeatureConstraints | None) -> Iterator[str]:
    if suggested is None:
        return
    for name in ("completeness", "is_non_negative"):
        if getattr(feature, name) != getattr(suggested, name):
            yield name
    if set(feature.domains or ()) != set(suggested.domains or ()):
        yield "domains"


def _thresholds(settings: Settings) -> set[str]:
    plain = Settings()
    names = ("datatype_check_threshold", "domain_content_threshold")
    return {name for name in names if getattr(settings, name) != getattr(plain, name)}


def report_files(finding: Finding) -> dict[str, bytes]:
    """What a monitor's execution leaves, by file name: the violations, and the window's own documents."""
    made = {VIOLATIONS: readable(finding.violations_document())}
    return made | {name: encoded(document) for name, document in finding.documents.items()}


def readable(document: Mapping[str, Any]) -> bytes:
    """A document for people to read and edit."""
    return (json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def constraints_in(place: Path) -> Path:
    """Where the constraints of a baseline, or of the package that it lies in, are."""
    return _folder(place) / CONSTRAINTS


def _folder(place: Path) -> Path:
    inside = place / FOLDER
    return inside if not (place / STATISTICS).is_file() and (inside / STATISTICS).is_file() else place


def _profile(folder: Path, content: Any) -> tuple[Profile, tuple[str, ...]]:
    """From `profile.bin` while `statistics.json` says the same, else from the latter."""
    try:
        stated = statistics.read(content)
    except ProfileUnreadable as error:
        raise DataRefused(f"{folder / STATISTICS}: {error}") from error
    if twice := len(content["features"]) - len(stated.columns):
        raise DataRefused(f"{folder / STATISTICS} names {twice} columns twice; keep one entry of each")
    file = folder / PROFILE
    if not file.is_file():
        return stated, ()
    try:
        whole = Profile.from_bytes(file.read_bytes())
    except (ProfileUnreadable, OSError) as error:
        return stated, (f"{PROFILE} was not used: {error}",)
    if json.loads(encoded(statistics.document(whole))) != content:
        return stated, (f"{PROFILE} was not used: {STATISTICS} was changed since it was written",)
    return whole, ()


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataRefused(
            f"there is no {file}; give a folder with {STATISTICS} and {CONSTRAINTS}, as "
            "`seaway baseline suggest` or SageMaker writes them"
        ) from None
    except (OSError, ValueError) as error:
        raise DataRefused(f"{file} is not JSON: {error}; write it again") from error
