"""Whether the columns still go together: rows are rebuilt from a few principal components of the baseline.

When only the relation between columns changes, every column by itself looks as ever; but the rows leave the
plane that the components span, and what is rebuilt lies further from them. One half of the baseline's rows
gives the components; of the other half a tenth is rebuilt worse than the limit. The number of such rows in a
window follows the law that `excess` explains, so the test is exact.

Source: the reconstruction error of NannyML's multivariate drift (standardised columns, components for 65 % of
the variance, mean Euclidean distance); a median stands for missing numbers here, and the test is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from monitoring.drift import encoding
from monitoring.drift.distribution import Floats
from monitoring.drift.encoding import Encoding, halves, learnt, matrix
from monitoring.drift.excess import SUBJECT, Excess, so_many
from monitoring.findings import Figure, Finding, Violation

if TYPE_CHECKING:
    import polars as pl

CHECK = "multivariate_drift_check"
"""Ours; Model Monitor looks at every column by itself."""
FIGURE = "reconstruction_error"
VARIANCE = 0.65
"""Share of the variance that the components keep at least."""
WORSE = 0.1
"""Share of the baseline's rows that are rebuilt worse than the limit."""
NOISE = 1e-6
"""An error up to this, in standard deviations, is that of numbers written with fewer digits."""
CHUNK = 65_536
"""Rows that are rebuilt at once, so that memory does not grow with the table."""
_DIGITS = 12
"""Of numbers that are kept; the last ones depend on the machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """A plane through the rows of a baseline."""

    columns: tuple[Encoding, ...]
    centre: Floats
    """Mean of each column."""
    scale: Floats
    """Standard deviation of each column; 1 where it has none."""
    axes: Floats
    """Components by rows, of unit length and orthogonal to each other, in standardised columns."""
    error: float = 0.0
    """Mean error of rows that gave no components."""
    limit: float = 0.0
    """Error above which a row is rebuilt badly."""
    above: int = 0
    """Rows of the baseline above it, that gave no components …"""
    rows: int = 0
    """… of so many."""


@dataclass(frozen=True, slots=True)
class Rebuilt(Excess):
    """How well the rows of a window are rebuilt; strange are those that come out badly."""

    factor: ClassVar[float] = 1.5
    error: float
    """Mean error."""
    deviation: float
    """Standard error of the mean."""
    baseline: float
    """Mean error in the baseline."""


def fit(frame: pl.DataFrame, columns: Sequence[str]) -> Components:
    """Find the components of a baseline, and how well they rebuild rows that they do not know.

    Args:
        frame: its rows.
        columns: those to look at; numbers and texts.

    Raises:
        ValueError: there are fewer than two rows, or fewer than two columns that vary.
    """
    if frame.height < 2:
        raise ValueError("components need at least two rows; give more of the baseline")
    seen, unseen = halves(frame)
    plane = span(learnt(seen, columns), seen)
    found = np.sort(errors(plane, unseen))[::-1]
    limit = max(NOISE, _rounded(found[int(WORSE * len(found))]))
    above = int((found > limit).sum())
    return replace(plane, error=_rounded(found.mean()), limit=limit, above=above, rows=len(found))


def span(columns: Sequence[Encoding], frame: pl.DataFrame, variance: float = VARIANCE) -> Components:
    """The components of rows that keep at least this share of their variance, but never all of it.

    Raises:
        ValueError: fewer than two columns vary.
    """
    values = matrix(columns, frame)
    centre, scale = values.mean(axis=0), values.std(axis=0)
    varying = scale > 1e-12 * np.maximum(1.0, np.abs(centre))
    if varying.sum() < 2:
        raise ValueError("fewer than two columns vary, so there is no relation between columns to look at")
    scale = np.where(varying, scale, 1.0)
    standard = (values - centre) / scale
    lengths, axes = np.linalg.eigh(standard.T @ standard / len(standard))
    explained = np.cumsum(lengths[::-1]) / lengths.sum()
    count = min(int(np.searchsorted(explained, variance - 1e-12)) + 1, int(varying.sum()) - 1)
    kept_axes = _signed(axes[:, ::-1].T[:count])
    return Components(tuple(columns), _rounded_all(centre), _rounded_all(scale), _rounded_all(kept_axes))


def errors(plane: Components, frame: pl.DataFrame) -> Floats:
    """How far each row lies from what is rebuilt of it, in standard deviations of the columns."""
    values = (matrix(plane.columns, frame) - plane.centre) / plane.scale
    parts = [_off(plane.axes, values[at : at + CHUNK]) for at in range(0, len(values), CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


def _off(axes: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.norm(values - values @ axes.T @ axes, axis=1))


def judge(plane: Components, frame: pl.DataFrame, level: float) -> Rebuilt | None:
    """Rebuild rows and count those that come out badly; None without rows.

    Args:
        plane: of the baseline.
        frame: rows with the inputs.
        level: of the test.
    """
    if not frame.height:
        return None
    found = errors(plane, frame)
    strange = int((found > plane.limit).sum())
    return Rebuilt(
        rows=len(found),
        strange=strange,
        expected=plane.above / plane.rows,
        p_value=so_many(strange, len(found), plane.above, plane.rows),
        level=level,
        error=float(found.mean()),
        deviation=standard_error(found),
        baseline=plane.error,
    )


def standard_error(values: Floats) -> float:
    """Of a mean: the sample's standard deviation over the root of its size; 0 for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def told(finding: Finding, found: Rebuilt) -> Finding:
    """A finding of data quality that also says how well rows are rebuilt."""
    reach = 1.959963984540054 * found.deviation
    figure = Figure(FIGURE, found.error, max(0.0, found.error - reach), found.error + reach, found.rows)
    return replace(
        finding,
        violations=(*finding.violations, *([_violation(found)] if found.violated else ())),
        figures=(figure, *finding.figures),
        details=replace(finding.details, rebuilt=found) if finding.details else None,
    )


def _violation(found: Rebuilt) -> Violation:
    said = f"Share of rows in which the columns do not go together as in the baseline: {found.said}"
    return Violation(CHECK, said, (("feature_name", SUBJECT),))


def document(plane: Components) -> dict[str, Any]:
    """The components as JSON-able data; equal components give equal documents."""
    arrays = {name: getattr(plane, name).tolist() for name in ("centre", "scale", "axes")}
    numbers = {name: getattr(plane, name) for name in ("error", "limit", "above", "rows")}
    return {"columns": encoding.document(plane.columns), **arrays, **numbers}


def read(document: Mapping[str, Any]) -> Components:
    """Components from `document`.

    Raises:
        ValueError: the numbers do not fit together.
    """
    plane = Components(
        columns=encoding.read(document["columns"]),
        centre=np.asarray(document["centre"], dtype=float),
        scale=np.asarray(document["scale"], dtype=float),
        axes=np.asarray(document["axes"], dtype=float),
        error=float(document["error"]),
        limit=float(document["limit"]),
        above=int(document["above"]),
        rows=int(document["rows"]),
    )
    width = (len(plane.columns),)
    sound = plane.centre.shape == plane.scale.shape == plane.axes.shape[1:] == width
    if not sound or not 0 <= plane.above < plane.rows or not (plane.scale > 0).all():
        raise ValueError("these numbers are no components of a baseline; make the baseline again")
    return plane


def _signed(axes: Floats) -> Floats:
    """Each axis with its largest part positive: both of its directions span the same plane."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.sign(largest)


def _rounded_all(values: Floats) -> Floats:
    return np.asarray(np.vectorize(_rounded, otypes=[float])(values))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
