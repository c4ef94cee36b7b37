"""Numbers as analysis.json writes them: what is infinite is a word."""

from __future__ import annotations

import math
from typing import Any


def shown(value: float | None) -> float | str | None:
    """`"Infinity"` or `"-Infinity"` for what is not finite."""
    if value is None or math.isfinite(value):
        return value
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number(value: Any) -> float | None:
    """What was written; None for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return None if math.isnan(found) else found
