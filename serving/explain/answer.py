"""The answer with explanations, as SageMaker Clarify's online explainability writes it.

`{"version", "predictions": {"content_type", "data"}, "label_headers", "explanations": {"kernel_shap"}}` with
one entry per row: null when it is not explained, else one object per feature. `details` is ours: what
the attributions add up from, and how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving.explain.explainer import Explained
from serving.explain.kernel import Numbers
from serving.explain.settings import Player
from serving.manifest import Manifest

VERSION = "1.0"
EXPLANATIONS = "x-seaway-explanations"
"""Header: method, and how many of the rows that were chosen are explained."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What became of the wish for explanations."""

    method: str
    expected: Numbers
    found: Mapping[int, Explained]
    """By row."""
    chosen: int
    """Rows that should be explained."""
    reason: str = ""
    """Why there is less, or another method, than was asked for; empty when there is not."""

    @property
    def header(self) -> str:
        """The line of `EXPLANATIONS`."""
        line = f"method={self.method}; chosen={self.chosen}; explained={len(self.found)}"
        if any(one.samples is not None for one in self.found.values()):
            line += f"; samples={min(one.samples or 0 for one in self.found.values())}"
        reason = "".join(c if " " <= c <= "~" and c != '"' else "'" for c in self.reason)
        return f'{line}; reason="{reason}"' if reason else line


def body(
    data: bytes, media: str, rows: int, report: Report, players: Sequence[Player], manifest: Manifest
) -> bytes:
    """The JSON of an answer of so many rows."""
    content: dict[str, Any] = {
        "version": VERSION,
        "predictions": {"content_type": media, "data": data.decode()},
    }
    if manifest.classes:
        shown = manifest.classes if manifest.task == "multiclass" else manifest.classes[1:]
        content["label_headers"] = [str(label) for label in shown]
    content["explanations"] = {}
    if report.found:
        every = [report.found.get(row) for row in range(rows)]
        content["explanations"]["kernel_shap"] = [one and _features(one, players) for one in every]
        content["details"] = {
            "method": report.method,
            "expected_value": report.expected.tolist(),
            "records": [one and {"samples": one.samples, "exact": one.exact} for one in every],
        }
    return orjson.dumps(content)


def _features(explained: Explained, players: Sequence[Player]) -> list[dict[str, Any]]:
    return [
        {"feature_header": player.name, "attributions": [{"attribution": values}]}
        for player, values in zip(players, explained.values.tolist(), strict=True)
    ]
