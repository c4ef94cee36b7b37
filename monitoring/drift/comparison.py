"""One column of a window against the same column of the baseline: every distance, one p-value, one verdict.

The p-value is for "both are samples of one distribution". For numbers it is the first term of Kolmogorov's
series, `2 exp(-2 n m / (n + m) d^2)` (the two-sample form of the Dvoretzky-Kiefer-Wolfowitz-Massart bound),
with the true numbers of rows and with d lowered by the most that both sketches can be off: never smaller than
the asymptotic value, and safe where a p-value read off a sketch's items is not. Small samples that both
sketches hold whole get the exact p-value. Numbers with few distinct
values, and categories, get Pearson's test of homogeneity, in which the baseline is a sample too; categories
with fewer than five expected rows are taken together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitoring.drift import bins, distances, distribution
from monitoring.drift.choice import FEW_DISTINCT, Choice, choose
from monitoring.drift.distribution import Distribution, Floats
from monitoring.drift.settings import Settings
from monitoring.profiles import Categories, ColumnProfile, Numeric

OTHER = "\0other values"
"""Stands for categories that a profile did not keep."""
LEAST_EXPECTED = 5
"""Rows that a category must have for Pearson's test."""
EXACT_STEPS = 100_000
"""Largest product of both numbers of rows whose exact p-value is worth its milliseconds."""
_NAMES = {
    "KolmogorovSmirnov": "kolmogorov_smirnov_p",
    "Homogeneity": "homogeneity_p",
    "ChiSquared": "chi_squared_p",
    "PSI": "psi",
    "JensenShannon": "jensen_shannon",
    "Hellinger": "hellinger",
    "TotalVariation": "total_variation",
    "Wasserstein": "wasserstein_normalised",
}


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one column is from its baseline."""

    name: str
    method: str
    """What decided: `linf_robust`, `linf_simple` or a name out of `settings`."""
    distance: float
    """The figure that is held against the threshold; of a test, 1 minus its p-value."""
    raw: float
    """`linf_simple`: the largest difference of the distribution functions, or of a category's share."""
    correction: float
    """What `linf_robust` subtracts from it for chance."""
    threshold: float
    """The column has drifted when the distance exceeds it; of a test, 1 minus its level."""
    n: int
    """Values in the window."""
    reference_n: int
    """Values in the baseline."""
    p_value: float | None
    """For "both are samples of one distribution"; None when no test applies."""
    q_value: float | None = None
    """The same after false-discovery control over all columns."""
    drifted: bool = False
    others: Mapping[str, float] = field(default_factory=dict)
    """Every further distance that could be computed, by name."""


class Incomparable(ValueError):
    """Why a column cannot be compared; becomes a note."""


def compare(
    baseline: ColumnProfile, window: ColumnProfile, settings: Settings, alpha: float | None = None
) -> FeatureDrift:
    """The drift of one column.

    Args:
        baseline: the column then; its kind decides how both are compared.
        window: the column now.
        settings: those of the column.
        alpha: level of the correction of `linf_robust`; None is Deequ's constant.

    Raises:
        Incomparable: one side has no values of the kind that is compared.
    """
    if baseline.kind == "numeric":
        figures, rows = _numbers(baseline, window)
    else:
        figures, rows = _texts(baseline, window)
    if not math.isfinite(figures["linf_simple"]):
        raise Incomparable("no distance could be computed")
    figures["linf_robust"] = distances.robust(figures["linf_simple"], *rows, alpha)
    figures["missing_change"] = baseline.completeness - window.completeness
    choice = _choice(baseline, rows, settings)
    return _judged(
        FeatureDrift(
            name=baseline.name,
            method=choice.method,
            distance=math.nan,
            raw=figures["linf_simple"],
            correction=distances.correction(*rows, alpha),
            threshold=choice.threshold,
            n=int(rows[1]),
            reference_n=int(rows[0]),
            p_value=_p_value(figures),
            others={key: value for key, value in figures.items() if math.isfinite(value)},
        ),
        choice,
        settings,
    )


def _choice(baseline: ColumnProfile, rows: tuple[float, float], settings: Settings) -> Choice:
    numeric = baseline.kind == "numeric"
    few = numeric and _few(baseline)
    method = settings.comparison_method if numeric else settings.categorical_drift_method
    threshold = settings.comparison_threshold if numeric else settings.categorical_threshold
    return choose(categorical=few or not numeric, rows=min(rows), method=method, threshold=threshold)


def _judged(drift: FeatureDrift, choice: Choice, settings: Settings) -> FeatureDrift:
    name = _NAMES.get(choice.method, "")
    if name not in drift.others:  # asked for, or what a test falls back to that has too few rows to speak
        simple = settings.comparison_method == "Simple"
        method = "linf_simple" if simple else "linf_robust"
        distance, threshold = (
            drift.others[method],
            settings.categorical_threshold if name else choice.threshold,
        )
    else:
        method, distance, threshold = choice.method, drift.others[name], choice.threshold
        if choice.tests:
            distance, threshold = 1 - distance, 1 - threshold
    return replace(drift, method=method, distance=distance, threshold=threshold, drifted=distance > threshold)


def _p_value(figures: Mapping[str, float]) -> float | None:
    for name in ("homogeneity_p", "kolmogorov_smirnov_p"):
        if not math.isnan(figures.get(name, math.nan)):
            return figures[name]
    return None


def _numbers(baseline: ColumnProfile, window: ColumnProfile) -> tuple[dict[str, float], tuple[float, float]]:
    then, now = _filled(baseline, "the baseline"), _filled(window, "the window")
    a, b = curve(then), curve(now)
    edges = bins.inner_edges(a)
    p, q = (distances.shares(bins.counts(side, edges)) for side in (a, b))
    raw, area = distribution.linf(a, b), distribution.wasserstein(a, b)
    off = then.quantiles.worst / a.n + now.quantiles.worst / b.n
    found = {
        "linf_simple": raw,
        "kolmogorov_smirnov_p": _kolmogorov_smirnov(raw, off, int(a.n), int(b.n)),
        "wasserstein": area,
        "wasserstein_normalised": area / max(then.moments.std_dev, 0.001),
        "sketch_error": off,
        **_of_shares(p, q),
    }
    if _few(baseline) and window.categories and window.categories.exact and baseline.categories:
        told = _as_numbers(baseline.categories.counts), _as_numbers(window.categories.counts)
        found["homogeneity_p"] = distances.homogeneity(*told, least=LEAST_EXPECTED)[1]
    return found, (a.n, b.n)


def _as_numbers(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts with one spelling of each number, for text says 1, 1.0 or + 1."""
    found: dict[str, float] = {}
    for text, count in counts.items():
        try:
            key = repr(float(text.replace(" ", "")))
        except ValueError:
            key = text
        found[key] = found.get(key, 0) + count
    return found


def kolmogorov(distance: float, n: float, m: float) -> float:
    """Upper bound of the p-value of a Kolmogorov-Smirnov distance between samples of n and m rows."""
    return min(1.0, 2 * math.exp(-2 * n * m / (n + m) * distance * distance))


def kolmogorov_exact(distance: float, n: int, m: int) -> float:
    """The p-value of a Kolmogorov-Smirnov distance between samples of n and m rows; ties only raise it.

    Every order of the n + m values is equally likely: a walk from (0, 0) to (n, m). Of walks that end in
    (i, j), a share of i / (i + j) came from (i - 1, j); the p-value is the share of those to (n, m) that have
    met a point with |i / n - j / m| >= distance (Hodges, 1958). Takes time in proportion to n m.
    """
    far = round(distance * n * m)
    met = [0.0] * (m + 1)
    for i in range(n + 1):
        for j in range(m + 1):
            if abs(i * m - j * n) >= far:
                met[j] = 1.0
            elif i or j:
                met[j] = (i * met[j] + (j * met[j - 1] if j else 0.0)) / (i + j)
    return met[m]


def _kolmogorov_smirnov(distance: float, off: float, n: int, m: int) -> float:
    if not off and n * m <= EXACT_STEPS:
        return kolmogorov_exact(distance, n, m)
    return kolmogorov(max(0.0, distance - off), n, m)


def curve(numeric: Numeric) -> Distribution:
    """The distribution that a sketch stands for."""
    return distribution.weighted(*numeric.quantiles.points())


def _filled(column: ColumnProfile, where: str) -> Numeric:
    if column.numeric is None or not column.numeric.quantiles.n:
        kind = "no values" if not column.present else "no finite numbers"
        raise Incomparable(f"{where} has {kind} to compare")
    return column.numeric


def _few(column: ColumnProfile) -> bool:
    categories = column.categories
    return categories is not None and categories.exact and len(categories.counts) <= FEW_DISTINCT


def _texts(baseline: ColumnProfile, window: ColumnProfile) -> tuple[dict[str, float], tuple[float, float]]:
    a, b = _aligned(_counted(baseline, "the baseline"), _counted(window, "the window"))
    statistic, p = distances.chi_squared(b, a)
    found = {
        "linf_simple": distances.linf_categorical(a, b),
        "homogeneity_p": distances.homogeneity(a, b, least=LEAST_EXPECTED)[1],
        "chi_squared": statistic,
        "chi_squared_p": p,
        **_of_shares(*distances.aligned(a, b)),
    }
    return found, (float(sum(a.values())), float(sum(b.values())))


def _counted(column: ColumnProfile, where: str) -> Categories:
    if column.categories is None or not column.categories.total:
        kind = "too many distinct numbers" if column.present else "no values"
        raise Incomparable(f"{where} has {kind} to compare as categories")
    return column.categories


def _aligned(a: Categories, b: Categories) -> tuple[dict[str, float], dict[str, float]]:
    """Counts of both; past the cap only texts that both kept, and one place for all others."""
    if a.exact and b.exact:
        return dict(a.counts), dict(b.counts)
    kept = [key for key in a.counts if key in b.counts]
    return _folded(a, kept), _folded(b, kept)


def _folded(side: Categories, kept: list[str]) -> dict[str, float]:
    counts: dict[str, float] = {key: side.counts[key] for key in kept}
    return {**counts, OTHER: side.total - sum(counts.values())}


def _of_shares(p: Floats, q: Floats) -> dict[str, float]:
    """Distances of shares; p is the baseline's."""
    return {
        "psi": distances.psi(q, p, distances.FLOOR),
        "jensen_shannon": distances.js_distance(p, q, 2),
        "jensen_shannon_nats": distances.js_distance(p, q),
        "kullback_leibler": distances.kl(p, q, distances.FLOOR),
        "hellinger": distances.hellinger(p, q),
        "total_variation": distances.tvd(p, q),
    }
