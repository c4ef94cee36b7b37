"""How good a model is on live rows: with labels, with late labels, and without any."""

from monitoring.quality.analysis import ModelQuality, Rules, analyse
from monitoring.quality.constraints import Constraints, suggest
from monitoring.quality.metric import Measured, Metric
from monitoring.quality.tally import Tally

__all__ = ["Constraints", "Measured", "Metric", "ModelQuality", "Rules", "Tally", "analyse", "suggest"]
