"""What a model relies on: attributions over many rows, their drift, and partial dependence."""

from monitoring.explain import clarify
from monitoring.explain.analysis import AttributionDrift, FeatureShift, LabelDrift, analyse
from monitoring.explain.attributions import Attributions, How, Label, read, summarise
from monitoring.explain.dependence import Dependence, partial_dependence

__all__ = [
    "AttributionDrift",
    "Attributions",
    "Dependence",
    "FeatureShift",
    "How",
    "Label",
    "LabelDrift",
    "analyse",
    "clarify",
    "partial_dependence",
    "read",
    "summarise",
]
