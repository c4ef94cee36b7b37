"""The 21 metrics by name: what they are called, and Clarify's words when they cannot be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.bias import metrics
from monitoring.bias.metrics import Formula, Side
from monitoring.bias.settings import Mode

Stage = Literal["Pre-training", "Post-Training"]
PRE: Stage = "Pre-training"
POST: Stage = "Post-Training"
Words = tuple[str, str]
"""Said when the facet, or everybody else, has no rows."""

_EMPTY: Words = ("Facet set is empty", "Negated Facet set is empty")
_IMPACT: Words = ("Facet set is empty", "Negated facet set is empty")
_SHARES: Words = ("Facet set is empty.", "Negative facet set is empty.")
_IMBALANCE: Words = (
    "CI: facet set is empty. Check that x[facet] has non-zero length.",
    "CI: negated facet set is empty. Check that x[~facet] has non-zero length.",
)
_DLA, _DLR, _DCO = (
    (f"{prefix}: Facet set is empty", f"{prefix}: Negated Facet set is empty")
    for prefix in ("DLA", "DLR", "DCO")
)
_MISSED = (
    "All predicted labels are false negatives. "
    "There should be at least one prediction that is not false negative."
)
_UNSHARED = "No instance of common facet found, dataset may be too small"
UNGROUPED = "Group variable is empty or not provided"


@dataclass(frozen=True, slots=True)
class Metric:
    """One of Clarify's metrics."""

    name: str
    stage: Stage
    description: str
    formula: Formula | None
    """None: no function of counts."""
    empty: Words = _EMPTY
    needs: str = "rows"
    """What both sides must have in exact mode."""
    neutral: float = 0.0
    """The value that says: no bias."""

    @property
    def grouped(self) -> bool:
        """It compares within the groups of the group variable."""
        return self.name in {"CDDL", "CDDPL"}

    def trouble(self, d: Side, a: Side, mode: Mode) -> str | None:
        """Why it cannot be computed from these counts; None when it can."""
        if self.name in {"JS", "KL", "KS", "LP", "TVD"} and mode == "clarify":
            shared = metrics.distributions(d, a, mode)[2]
            return None if shared.any() else _UNSHARED
        if self.grouped and (word := self._lacking(d, a)):
            return f"No {word} labels in set"
        if self.name == "GE":
            return None if np.isfinite(metrics.generalized_entropy(d, a, mode)) else _MISSED
        if self.grouped and mode == "clarify":
            return None
        return self.empty[0] if d.n == 0 else self.empty[1] if a.n == 0 else None

    def undefined(self) -> str:
        """What to say of a value that is not a number."""
        return f"{self.name} is not defined: a side has no {self.needs}"

    def _lacking(self, d: Side, a: Side) -> str:
        of = Side.labelled if self.name == "CDDL" else Side.called
        return next(
            (
                word
                for outcome, word in ((1, "positive"), (0, "negative"))
                if of(d, outcome) + of(a, outcome) == 0
            ),
            "",
        )


ALL: tuple[Metric, ...] = (
    Metric("CDDL", PRE, "Conditional Demographic Disparity in Labels (CDDL)", metrics.conditional_labels),
    Metric("CI", PRE, "Class Imbalance (CI)", metrics.class_imbalance, _IMBALANCE),
    Metric(
        "DPL", PRE, "Difference in Positive Proportions in Labels (DPL)", metrics.label_proportions, _SHARES
    ),
    Metric("JS", PRE, "Jensen-Shannon Divergence (JS)", metrics.jensen_shannon),
    Metric("KL", PRE, "Kullback-Liebler Divergence (KL)", metrics.kullback_leibler),
    Metric("KS", PRE, "Kolmogorov-Smirnov Distance (KS)", metrics.kolmogorov_smirnov),
    Metric("LP", PRE, "L-p Norm (LP)", metrics.l2_norm),
    Metric("TVD", PRE, "Total Variation Distance (TVD)", metrics.total_variation),
    Metric("AD", POST, "Accuracy Difference (AD)", metrics.accuracy),
    Metric(
        "CDDPL",
        POST,
        "Conditional Demographic Disparity in Predicted Labels (CDDPL)",
        metrics.conditional_predictions,
    ),
    Metric(
        "DAR",
        POST,
        "Difference in Acceptance Rates (DAR)",
        metrics.acceptance,
        _DLR,
        "positive predictions",
    ),
    Metric(
        "DCA",
        POST,
        "Difference in Conditional Acceptance (DCA)",
        metrics.conditional_acceptance,
        _DCO,
        "positive predictions",
    ),
    Metric(
        "DCR",
        POST,
        "Difference in Conditional Rejection (DCR)",
        metrics.conditional_rejection,
        _DCO,
        "negative predictions",
    ),
    Metric(
        "DI",
        POST,
        "Disparate Impact (DI)",
        metrics.disparate_impact,
        _IMPACT,
        "positive predictions",
        neutral=1.0,
    ),
    Metric(
        "DPPL",
        POST,
        "Difference in Positive Proportions in Predicted Labels (DPPL)",
        metrics.predicted_proportions,
        _SHARES,
    ),
    Metric(
        "DRR", POST, "Difference in Rejection Rates (DRR)", metrics.rejection, _DLR, "negative predictions"
    ),
    Metric("FT", POST, "Flip Test (FT)", None),
    Metric("GE", POST, "Generalized Entropy (GE)", metrics.generalized_entropy),
    Metric("RD", POST, "Recall Difference (RD)", metrics.recall, _DLA, "positive labels"),
    Metric("SD", POST, "Specificity Difference (SD)", metrics.specificity, _DLA, "negative labels"),
    Metric("TE", POST, "Treatment Equality (TE)", metrics.treatment_equality, _EMPTY, "false positives"),
)
"""In the order of the report: by stage, then by name."""
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in ALL}
