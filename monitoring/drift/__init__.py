"""Data quality of a window against its baseline: constraints, distances, alarms that may be watched daily."""

from monitoring.drift.analysis import DataQuality, analyse
from monitoring.drift.comparison import FeatureDrift
from monitoring.drift.constraints import Constraints, suggest

__all__ = ["Constraints", "DataQuality", "FeatureDrift", "analyse", "suggest"]
