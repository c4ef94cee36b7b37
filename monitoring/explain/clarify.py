"""The files that SageMaker Clarify leaves: the explanations of `analysis.json`, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitoring.explain.attributions import Attributions
from monitoring.explain.dependence import Dependence
from monitoring.explain.globally import Numbers

VERSION = "1.0"
METHOD = "kernel_shap"
"""Clarify's only name for Shapley values, however they were computed."""


def analysis(found: Attributions, dependences: Sequence[Dependence] = ()) -> dict[str, Any]:
    """`analysis.json` with its block `explanations`."""
    explanations: dict[str, Any] = {
        METHOD: {
            one.label: {"global_shap_values": one.by(found.features), "expected_value": one.expected}
            for one in found.labels
        }
    }
    if dependences:
        explanations["pdp"] = [one.document() for one in dependences]
    return {"version": VERSION, "explanations": explanations}


def header(features: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Columns of `explanations_shap/out.csv`: `{feature}_{label}` label by label, then the predictions."""
    attributed = [f"{feature}_{label}" for label in labels for feature in features]
    return [*attributed, *(f"prediction_{label}" for label in labels)]


def table(local: Numbers, scores: Numbers) -> Numbers:
    """The lines of `explanations_shap/out.csv`: attributions by row, feature and output, then scores."""
    rows, features, outputs = local.shape
    return np.hstack([local.transpose(0, 2, 1).reshape(rows, features * outputs), scores])
