"""The part of JSONPath that filters understand.

    $            the record itself                .name        a member
    *            every member or element          ['a','b']    members, by name
    [1]  [0,-1]  elements, by place               [1:]  [a:b]  a section

Several names give an object of these members and must come last. Several places, a section or `*` give a
list; what follows is taken from each of its elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 63
"""Characters a path may have."""
_DOTTED = re.compile(r"\.(?:(\*)|([^\s.\[\]*'\"(),?@]+))")
_BRACKET = re.compile(r"\.?\[([^\[\]]*)\]")
_QUOTED = r"(?:'[^']*'|\"[^\"]*\")"
_NAMES = re.compile(rf"\s*{_QUOTED}\s*(?:,\s*{_QUOTED}\s*)*")
_PLACES = re.compile(r"\s*-?\d+\s*(?:,\s*-?\d+\s*)*")
_SECTION = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*")


class PathInvalid(ValueError):
    """The text is no path of this subset; the message says where and what to write."""


class NothingThere(ValueError):
    """A record does not have what the path asks for."""


@dataclass(frozen=True, slots=True)
class Names:
    """`.name`, `['a','b']`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """`[1]`, `[0,-1]`."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """`[a:b]`, the end excluded; None is the very beginning or end."""

    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Everything:
    """`*`."""


Step = Names | Places | Section | Everything


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path."""

    text: str
    steps: tuple[Step, ...]

    @property
    def whole(self) -> bool:
        """The path takes the record as it is."""
        return not self.steps

    def select(self, value: Any) -> Any:
        """What the path finds in a JSON value.

        Raises:
            NothingThere: a member or element is missing.
        """
        found, many = [value], False
        for step in self.steps:
            several = _several(step)
            found = [item for one in found for item in (_take(step, one) if several else [_one(step, one)])]
            many = many or several
        return found if many else found[0]

    def selector(self) -> Callable[[Sequence[bytes]], list[bytes]]:
        """A function from the cells of a CSV row to those that the path takes.

        Raises:
            PathInvalid: the path asks for names, which a row does not have.
        """
        match self.steps:
            case () | (Everything(),):
                return list
            case (Section(start, end),):
                return lambda cells: list(cells[start:end])
            case (Places(places),):
                return lambda cells: [_element(cells, place) for place in places]
        raise PathInvalid(
            f"{self.text!r} cannot select from CSV rows; use places only, for example $[1:] or $[0,-1]"
        )


def parse(text: str) -> Path:
    """Read a path.

    Raises:
        PathInvalid: it is not one of this subset.
    """
    if len(text) > LONGEST:
        raise PathInvalid(
            f"a path may have {LONGEST} characters, and {text[:20]!r}... has {len(text)}; shorten it"
        )
    if not text.startswith("$"):
        raise PathInvalid(f"{text!r} must begin with $, the record")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        if steps and isinstance(steps[-1], Names) and len(steps[-1].names) > 1:
            raise PathInvalid(f"{text!r}: nothing can follow several names")
        found = _DOTTED.match(text, at) or _BRACKET.match(text, at)
        if not found:
            raise PathInvalid(f"{text!r} is not understood from {text[at:]!r} on; {_hint(text[at:])}")
        steps.append(_bracket(found[1], text) if found.re is _BRACKET else _dotted(found))
        at = found.end()
    return Path(text, tuple(steps))


def _dotted(found: re.Match[str]) -> Step:
    return Everything() if found[1] else Names((found[2],))


def _bracket(inside: str, text: str) -> Step:
    if inside.strip() == "*":
        return Everything()
    if section := _SECTION.fullmatch(inside):
        return Section(*(None if end is None else int(end) for end in section.groups()))
    if _PLACES.fullmatch(inside):
        return Places(tuple(int(place) for place in inside.split(",")))
    if _NAMES.fullmatch(inside):
        names = tuple(name[1:-1] for name in re.findall(_QUOTED, inside))
        if nested := [name for name in names if "." in name and len(names) > 1]:
            raise PathInvalid(f"{text!r}: {nested[0]!r} is nested; brackets take names of one object only")
        return Names(names)
    raise PathInvalid(f"{text!r}: [{inside}] is not understood; {_hint(inside)}")


def _hint(rest: str) -> str:
    if rest.startswith(".."):
        return "searching at any depth is not supported; name every level"
    if "?" in rest or "@" in rest:
        return "conditions are not supported; select by name or place"
    return "write for example $.name, $['a','b'], $[0,-1] or $[1:]"


def _several(step: Step) -> bool:
    return isinstance(step, Section | Everything) or (isinstance(step, Places) and len(step.places) > 1)


def _one(step: Step, value: Any) -> Any:
    """The value at a step that gives one."""
    if isinstance(step, Places):
        return _element(_list(value), step.places[0])
    names = step.names if isinstance(step, Names) else ()
    if not isinstance(value, dict):
        raise NothingThere(f"it is no object, so it has no member {names[0]!r}")
    if absent := [name for name in names if name not in value]:
        raise NothingThere(f"it has no member {absent[0]!r}")
    return value[names[0]] if len(names) == 1 else {name: value[name] for name in names}


def _take(step: Step, value: Any) -> list[Any]:
    """The values at a step that gives several."""
    match step:
        case Section(start, end):
            return _list(value)[start:end]
        case Places(places):
            return [_element(_list(value), place) for place in places]
    return list(value.values()) if isinstance(value, dict) else _list(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NothingThere("it is no list where the path selects by place")
    return value


def _element(values: Sequence[Any], place: int) -> Any:
    try:
        return values[place]
    except IndexError:
        raise NothingThere(f"it has {len(values)} values, so there is none at [{place}]") from None
