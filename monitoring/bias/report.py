"""The figures of a bias analysis, and the file `analysis.json` that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.bias.catalogue import BY_NAME, POST, PRE, Stage
from monitoring.bias.counts import Counts
from monitoring.bias.settings import Mode
from monitoring.bias.text import number, shown
from monitoring.rows import LABEL

_BLOCKS: Mapping[Stage, str] = {PRE: "pre_training_bias_metrics", POST: "post_training_bias_metrics"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of one group."""

    facet: str
    facet_value: str
    """The values of the group, or `(threshold, highest]`."""
    metric: str
    stage: Stage
    value: float | None
    """None when it could not be computed; may be infinite."""
    error: str = ""
    """Why not."""
    low: float | None = None
    """Lower end of its interval."""
    high: float | None = None
    """Upper end of its interval."""
    rows: int = 0
    """Rows of the group and of everybody else."""

    def record(self, mode: Mode) -> dict[str, Any]:
        """As in the file; exact mode adds `low` and `high` to Clarify's keys where they are known."""
        found = {
            "name": self.metric,
            "description": BY_NAME[self.metric].description,
            "value": shown(self.value),
        }
        if self.error:
            found["error"] = self.error
        known = {"low": self.low, "high": self.high} if mode == "exact" else {}
        return found | {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Bias:
    """What is known of the bias in some rows."""

    label: str
    label_value: str
    """The favourable outcomes, or `(threshold, highest]`."""
    measures: tuple[Measure, ...]
    mode: Mode
    counts: Counts
    """To be kept and merged."""
    performance: Mapping[str, Any] | None
    """Clarify's model performance block; None without predictions."""

    def document(self) -> dict[str, Any]:
        """`analysis.json`; `model_performance` is added to Clarify's keys when there are predictions."""
        found: dict[str, Any] = {"version": "1.0"}
        for stage, block in _BLOCKS.items():
            ours = [one for one in self.measures if one.stage == stage]
            if ours or (stage == PRE and not self.measures):
                found[block] = {
                    "label": self.label,
                    "label_value_or_threshold": self.label_value,
                    "facets": _by_facet(ours, self.mode),
                }
        if self.performance is not None:
            found["model_performance"] = dict(self.performance)
        return found


def read(document: Mapping[str, Any]) -> tuple[Measure, ...]:
    """The figures of an `analysis.json`, whoever wrote it; metrics that are not known here are left out.

    Raises:
        ValueError: it holds no bias metrics.
    """
    if not any(isinstance(document.get(block), Mapping) for block in _BLOCKS.values()):
        raise ValueError(f"the analysis holds none of {', '.join(_BLOCKS.values())}; give an analysis.json")
    return tuple(_read(document))


def label_of(document: Any) -> str:
    """What an `analysis.json` calls the label; empty when it does not say.

    Earlier versions wrote `@label`, the column of live rows, which says nothing.
    """
    blocks = [document.get(name) for name in _BLOCKS.values()] if isinstance(document, Mapping) else []
    names = [block.get("label") for block in blocks if isinstance(block, Mapping)]
    return next((one for one in names if isinstance(one, str) and one != LABEL), "")


def _by_facet(measures: Sequence[Measure], mode: Mode) -> dict[str, list[dict[str, Any]]]:
    facets: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for one in measures:
        facets.setdefault(one.facet, {}).setdefault(one.facet_value, []).append(one.record(mode))
    return {
        facet: [{"value_or_threshold": value, "metrics": metrics} for value, metrics in groups.items()]
        for facet, groups in facets.items()
    }


def _read(document: Mapping[str, Any]) -> Iterator[Measure]:
    for stage, block in _BLOCKS.items():
        for facet, groups in (document.get(block) or {}).get("facets", {}).items():
            for group in groups:
                for metric in group.get("metrics", ()):
                    if metric.get("name") in BY_NAME:
                        yield Measure(
                            facet,
                            str(group.get("value_or_threshold", "")),
                            metric["name"],
                            stage,
                            number(metric.get("value")),
                            str(metric.get("error") or ""),
                            number(metric.get("low")),
                            number(metric.get("high")),
                        )
