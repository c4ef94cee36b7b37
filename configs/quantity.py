"""Durations (`10m`), shares (`10%`) and memory sizes as people write them in a project file."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `10m`, `1h30m` or `250ms`; the parts add up.

    Raises:
        ValueError: when any character is not part of a number with a unit.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 10m, 1h30m or 250ms")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back to the same value."""
    milliseconds = round(value / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and not isinstance(value, bool):
        return timedelta()
    raise ValueError(f"{value!r} has no unit; write for example {value}s or {value}m")


def _share(value: Any) -> Any:
    if isinstance(value, str):
        number = value.strip()
        if not number.endswith("%"):
            raise ValueError(f"{value!r} is not a share; write for example 10%")
        try:
            return float(number[:-1]) / 100
        except ValueError:
            raise ValueError(f"{value!r} is not a share; write for example 10%") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a share; write for example 10% or 0.1")  # noqa: TRY004 (pydantic)
    return float(value)


def parse_percent(value: Any) -> int:
    """`10%`, 10 or 0.1 as 10.

    Raises:
        ValueError: it is no share, or no whole percent.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    hundredths: float = _share(value) * 100
    if round(hundredths) != hundredths and abs(round(hundredths) - hundredths) > 1e-9:
        raise ValueError(f"{value!r} is not a whole percent")
    return round(hundredths)


def _format_share(value: float) -> str:
    return f"{value * 100:.10g}%"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    Field(ge=timedelta()),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s", "10m"]}
    ),
]
"""A length of time, not negative."""

Share = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, le=1),
    PlainSerializer(_format_share, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?%$"},
                {"type": "number", "minimum": 0, "maximum": 1},
            ]
        }
    ),
]
"""A part of a whole, from 0 to 1; `10%` and `0.1` mean the same."""

Percent = Annotated[
    int,
    BeforeValidator(parse_percent),
    Field(ge=0, le=100),
    PlainSerializer(lambda value: f"{value}%", return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+%$"},
                {"type": "integer", "minimum": 0, "maximum": 100},
            ]
        }
    ),
]
"""A traffic weight in whole percents; `10%` and `10` mean the same."""
