"""Profiles of tables: moments, quantiles, categories and types by column, mergeable and deterministic."""

from monitoring.profiles.categories import Categories
from monitoring.profiles.columns import ColumnProfile, Kind, Numeric
from monitoring.profiles.errors import ProfileUnreadable
from monitoring.profiles.moments import Moments
from monitoring.profiles.profile import Profile, merge
from monitoring.profiles.quantiles import Quantiles
from monitoring.profiles.typecounts import TypeCounts

__all__ = [
    "Categories",
    "ColumnProfile",
    "Kind",
    "Moments",
    "Numeric",
    "Profile",
    "ProfileUnreadable",
    "Quantiles",
    "TypeCounts",
    "merge",
]
