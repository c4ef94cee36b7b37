"""The settings of explanations: one JSON object in an environment variable, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from serving.entries import Check, entries
from serving.environment import EnvironmentInvalid
from serving.explain import selection
from serving.manifest import Input

EXPLAIN = "SEAWAY_EXPLAIN"
"""Environment variable with the settings as JSON; not set or empty: nothing is explained."""
TYPICAL, ROWS = "typical", "rows"
"""The baselines that every package brings: one typical row, or a few training rows."""

Method = Literal["auto", "tree", "kernel"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are explained; the names are those of the JSON object."""

    enable: str = "`true`"
    """JMESPath expression, true for the predictions to explain; a request's header overrides it."""
    baseline: str | tuple[Any, ...] = TYPICAL
    """`typical` or `rows` of the package, a file, or the rows themselves."""
    samples: int | None = None
    """Most coalitions per row; None means 2 times the number of columns, plus 2048."""
    method: Method = "kernel"
    """`tree`, and `auto`: TreeSHAP where it is exact, else KernelSHAP; with `tree` answers say why. TreeSHAP
    needs the library shap, and loads the trained model, which takes seconds when the server starts."""
    time_share: float = 0.5
    """Part of the time limit of a request that explaining may take."""
    use_logit: bool = False
    """Attribute the log-odds of classifiers instead of their probabilities."""
    seed: int = 0
    """Another number draws other coalitions, where not all can be asked."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that are attributed as one, by the name of the group."""


@dataclass(frozen=True, slots=True)
class Player:
    """One feature that gets an attribution: a column, or a group of columns."""

    name: str
    columns: tuple[str, ...]


def parse(text: str) -> Settings:
    """The settings in a JSON object.

    Raises:
        EnvironmentInvalid: the text is no such object; the message names the entry at fault.
    """
    return Settings(**entries(EXPLAIN, text, _CHECKS, EnvironmentInvalid))


def players(inputs: tuple[Input, ...], groups: Mapping[str, tuple[str, ...]]) -> tuple[Player, ...]:
    """Groups and single columns, in the order of their first column.

    Raises:
        EnvironmentInvalid: a group has a column that the model has not, or that another group has too.
    """
    names = [item.name for item in inputs]
    owner: dict[str, str] = {}
    for group, columns in groups.items():
        for column in columns:
            if column not in names:
                raise _wrong("groups", column, "a column of the model")
            if column in owner:
                raise _wrong("groups", column, "a column of one group only")
            owner[column] = group
    made: dict[tuple[bool, str], list[str]] = {}
    for name in names:
        made.setdefault((name in owner, owner.get(name, name)), []).append(name)
    return tuple(Player(name, tuple(columns)) for (_, name), columns in made.items())


def _wrong(name: str, value: Any, wanted: str) -> EnvironmentInvalid:
    return EnvironmentInvalid(f"{EXPLAIN}: {name} is {value!r:.200}; set it to {wanted}")


# ---- the check of each entry ------------------------------------------------------------------------------


def _enable(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a JMESPath expression, such as `true`")
    try:
        selection.compiled(value)
    except selection.ExpressionRefused as error:
        raise EnvironmentInvalid(f"{EXPLAIN}: {name}: {error}") from error
    return value


def _baseline(name: str, value: Any) -> str | tuple[Any, ...]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value:
        return tuple(value)
    raise _wrong(name, value, f"{TYPICAL}, {ROWS}, a file, or a list of rows")


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")
    return value


def _samples(name: str, value: Any) -> int | None:
    return None if value is None else _whole(name, value, 1, 10**6)


def _method(name: str, value: Any) -> Method:
    if value not in get_args(Method):
        raise _wrong(name, value, f"one of {', '.join(get_args(Method))}")
    return cast("Method", value)


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _wrong(name, value, "a number above 0 and at most 1")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _seed(name: str, value: Any) -> int:
    return _whole(name, value, 0, 2**63 - 1)


def _groups(name: str, value: Any) -> Mapping[str, tuple[str, ...]]:
    wanted = "an object of group names, each with a list of columns"
    if not isinstance(value, dict):
        raise _wrong(name, value, wanted)
    for columns in value.values():
        if not isinstance(columns, list) or not columns or not all(isinstance(one, str) for one in columns):
            raise _wrong(name, value, wanted)
    return {group: tuple(columns) for group, columns in value.items()}


_CHECKS: dict[str, Check] = {
    "enable": _enable,
    "baseline": _baseline,
    "samples": _samples,
    "method": _method,
    "time_share": _share,
    "use_logit": _flag,
    "seed": _seed,
    "groups": _groups,
}
