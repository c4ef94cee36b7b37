"""`statistics.json` as Model Monitor writes it, from a profile and back into one."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.profiles.categories import CAP, Categories
from monitoring.profiles.columns import ColumnProfile, Numeric
from monitoring.profiles.errors import ProfileUnreadable
from monitoring.profiles.moments import Moments
from monitoring.profiles.profile import Profile
from monitoring.profiles.quantiles import BATCH, C, K, Quantiles, restored
from monitoring.profiles.typecounts import TypeCounts

BUCKETS = 10
SHOWN = 1_000
"""Categories that are listed at most, the most frequent first."""


def document(profile: Profile) -> dict[str, Any]:
    """The content of `statistics.json`.

    JSON knows no infinity: a sum or spread beyond the largest float is written as the largest float, and a
    column whose numbers are all infinite has zeros.
    """
    return {
        "version": 0.0,
        "dataset": {"item_count": profile.rows},
        "features": [_feature(column) for column in profile.columns.values()],
    }


def read(content: Mapping[str, Any]) -> Profile:
    """A profile from `statistics.json`, whoever wrote it.

    Quantiles come from `sketch.data`; without it, from the buckets, then exact to the bucket. All present
    values count as of the inferred type. Categories are exact when the buckets add up to the present values.

    Raises:
        ProfileUnreadable: it is no such document.
    """
    try:
        columns = [_column(feature) for feature in content["features"]]
        rows = int(content["dataset"]["item_count"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        told = f"statistics.json is not as Model Monitor writes it ({error!r}); suggest a baseline again"
        raise ProfileUnreadable(told) from error
    return Profile(rows, {column.name: column for column in columns})


def _feature(column: ColumnProfile) -> dict[str, Any]:
    feature: dict[str, Any] = {"name": column.name, "inferred_type": column.inferred_type}
    common = {"num_present": column.present, "num_missing": column.missing}
    if column.kind == "numeric" and column.numeric is not None:
        return {**feature, "numerical_statistics": _numerical(column.numeric, common)}
    counted = column.categories or Categories()
    shown = list(counted.counts.items())[:SHOWN]
    buckets = [{"value": value, "count": count} for value, count in shown]
    text = {"common": common, "distinct_count": float(counted.distinct)}
    return {**feature, "string_statistics": {**text, "distribution": {"categorical": {"buckets": buckets}}}}


def _numerical(numeric: Numeric, common: dict[str, int]) -> dict[str, Any]:
    sketch = numeric.quantiles
    moments = numeric.moments if sketch.n else Moments(minimum=0.0, maximum=0.0)
    buckets = [
        {"lower_bound": lower, "upper_bound": upper, "count": count}
        for lower, upper, count in sketch.buckets(moments.minimum, moments.maximum, BUCKETS)
    ]
    return {
        "common": common,
        "mean": _finite(moments.mean),
        "sum": _finite(moments.sum),
        "std_dev": _finite(moments.std_dev),
        "min": moments.minimum,
        "max": moments.maximum,
        "distribution": {
            "kll": {
                "buckets": buckets,
                "sketch": {"parameters": {"c": C, "k": float(K)}, "data": sketch.levels()},
            }
        },
    }


def _finite(number: float) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, number))


def _column(feature: Mapping[str, Any]) -> ColumnProfile:
    numeric, text = feature.get("numerical_statistics"), feature.get("string_statistics")
    common = (numeric or text or {}).get("common") or {}
    present, missing = int(common.get("num_present", 0)), int(common.get("num_missing", 0))
    types = _types(str(feature["inferred_type"]), present)
    name = str(feature["name"])
    if numeric is not None and present:
        return ColumnProfile(name, present, missing, types, _numbers(numeric, present))
    counted = _categories(text, present) if text is not None and present else None
    return ColumnProfile(name, present, missing, types, None, counted)


def _types(inferred: str, present: int) -> TypeCounts:
    """All present values as of one type; Unknown, which has none, counts as text."""
    kind = inferred.lower()
    return TypeCounts(**{kind if kind in TypeCounts.__slots__ else "string": present})


def _numbers(numeric: Mapping[str, Any], present: int) -> Numeric:
    low, high = float(numeric["min"]), float(numeric["max"])
    moments = Moments(present, float(numeric["mean"]), float(numeric["std_dev"]) ** 2 * present, low, high)
    kll = (numeric.get("distribution") or {}).get("kll") or {}
    data = (kll.get("sketch") or {}).get("data") or []
    if any(data):
        return Numeric(moments, restored(data, low, high, _foreign_error(data)))
    return Numeric(moments, _from_buckets(kll.get("buckets") or [], low, high))


def _foreign_error(data: Sequence[Sequence[float]]) -> float:
    """Numbers by which a rank in somebody else's sketch may be off: by one item of each level."""
    return float(sum(1 << level for level in range(len(data) - 1)))


def _from_buckets(buckets: list[Mapping[str, Any]], low: float, high: float) -> Quantiles:
    """Numbers spread evenly inside their buckets."""
    counts = [round(float(bucket["count"])) for bucket in buckets]
    level = max(0, math.ceil(math.log2(max(1, sum(counts)) / (BATCH / 2))))
    levels: list[list[float]] = [[] for _ in range(level + 1)]
    for bucket, count in zip(buckets, counts, strict=True):
        lower, upper = float(bucket["lower_bound"]), float(bucket["upper_bound"])
        at = 0
        for height in range(level, -1, -1):
            while count - at >= 1 << height:
                middle = (at + (1 << height) / 2) / count
                levels[height].append(lower + (upper - lower) * middle)
                at += 1 << height
    return restored(levels, low, high, float(max(counts, default=0)))


def _categories(text: Mapping[str, Any], present: int) -> Categories:
    buckets = ((text.get("distribution") or {}).get("categorical") or {}).get("buckets") or []
    counts = {str(bucket["value"]): int(bucket["count"]) for bucket in buckets}
    counted = Categories.of(counts, max(CAP, len(counts)))
    if counted.total >= present:
        return counted
    least = min(counts.values(), default=present)
    return Categories(counted.counts, present, min(least, present - counted.total), None, counted.cap)
