"""Aliases held against the ledger: who pointed `champion` where, and was it us? Pure.

An alias is the result of a rollout, never a wish. Seaway moves it first and notes it then (`alias_set`);
a move that contradicts the last note is somebody's hand: noted first (`alias_moved`), put back, noted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from registry.entry import Entry, Kind, name
from registry.port import ModelVersion

ALIASES = ("champion", "previous")
_KINDS = frozenset({Kind.ALIAS_SET, Kind.ALIAS_MOVED, Kind.ALIAS_RESTORED})


@dataclass(frozen=True, slots=True)
class Note:
    """Write this to the ledger."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Point:
    """Point the alias there; None removes it."""

    model: str
    alias: str
    version: str | None


def decide_alias(
    model: str,
    alias: str,
    wanted: str | None,
    versions: Iterable[ModelVersion],
    entries: Sequence[Entry],
    now: datetime,
) -> tuple[Note | Point, ...]:
    """What to do so that one alias of a model points where Seaway wants it.

    Args:
        model: the registered model.
        alias: `champion` or `previous`.
        wanted: the version it must point at; None when it must not exist.
        versions: the model's versions as the registry shows them.
        entries: the ledger's entries of the model, oldest first.
        now: the time written into new entries.
    """
    found = next((version.version for version in versions if alias in version.aliases), None)
    story = [entry for entry in entries if entry.kind in _KINDS and entry.details.get("alias") == alias]
    last = story[-1] if story else None
    placed = last.details.get("wanted") if last else None
    point = Point(model, alias, wanted)

    def note(kind: Kind) -> Note:
        return Note(_entry(kind, model, alias, found, wanted, last, now))

    if last and last.kind is Kind.ALIAS_MOVED and placed == wanted:
        return (note(Kind.ALIAS_RESTORED),) if found == wanted else (point, note(Kind.ALIAS_RESTORED))
    if placed == wanted:
        return () if found == wanted else (note(Kind.ALIAS_MOVED),)
    return (note(Kind.ALIAS_SET),) if found == wanted else (point, note(Kind.ALIAS_SET))


def _entry(
    kind: Kind,
    model: str,
    alias: str,
    found: str | None,
    wanted: str | None,
    last: Entry | None,
    now: datetime,
) -> Entry:
    after = last.id if last else ""
    return Entry(
        id=name(kind, f"{model}@{alias}", wanted or "", after, "production"),
        at=now,
        kind=kind,
        model=model,
        stage="production",
        actor="seaway" if kind is not Kind.ALIAS_MOVED else "",
        source="reconciler",
        comment=_sentence(kind, model, alias, found, wanted),
        details={"alias": alias, "wanted": wanted, "found": found},
    )


def _sentence(kind: Kind, model: str, alias: str, found: str | None, wanted: str | None) -> str:
    there = f"version {wanted}" if wanted else "no version"
    if kind is not Kind.ALIAS_MOVED:
        return f"{alias} of {model} points at {there}"
    here = f"version {found}" if found else "no version"
    return (
        f"{alias} of {model} was moved by hand to {here}; it is put back to {there}: "
        "approve or roll back to change it"
    )


def live_at(entries: Iterable[Entry], alias: str, moment: datetime) -> str | None:
    """Which version an alias pointed at, at some time, as Seaway placed it; None when none."""
    placed: Mapping[str, str | None] = {}
    for entry in entries:
        if entry.kind is Kind.ALIAS_SET and entry.details.get("alias") == alias and entry.at <= moment:
            placed = entry.details
    return placed.get("wanted")
