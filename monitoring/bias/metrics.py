"""SageMaker Clarify's bias metrics as functions of counts; any number of tables at a time.

Each takes the counts of the facet (d) and of everybody else (a). `clarify` mode repeats what Clarify
computes: 0/0 is 0, the difference of two infinities is 0, and distances of distributions leave out outcomes
that one side does not have. `exact` mode has NaN for what is not defined, and complete distributions. x/0 is
infinite in both. The signs of SD, DCR, DRR and TE are d - a, those of the others a - d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.settings import Mode

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """Counts of one side by group, label and prediction, on the last three axes."""

    cells: NDArray[Any]

    @property
    def n(self) -> Floats:
        """Rows."""
        return np.asarray(self.cells.sum((-3, -2, -1)), dtype=np.float64)

    def of(self, label: int, predicted: int) -> Floats:
        """Rows with this label and prediction."""
        return np.asarray(self.cells[..., label, predicted].sum(-1), dtype=np.float64)

    def labels(self) -> Floats:
        """Rows by group and label."""
        return np.asarray(self.cells.sum(-1), dtype=np.float64)

    def predictions(self) -> Floats:
        """Rows by group and prediction."""
        return np.asarray(self.cells.sum(-2), dtype=np.float64)

    def labelled(self, label: int) -> Floats:
        """Rows with this label."""
        return np.asarray(self.labels()[..., label].sum(-1), dtype=np.float64)

    def called(self, predicted: int) -> Floats:
        """Rows with this prediction."""
        return np.asarray(self.predictions()[..., predicted].sum(-1), dtype=np.float64)

    @property
    def together(self) -> Side:
        """Groups added up."""
        return Side(self.cells.sum(-3, keepdims=True))

    @property
    def known(self) -> Side:
        """The rows that have a prediction."""
        return Side(self.cells[..., :2])


Formula = Callable[[Side, Side, Mode], Floats]


def class_imbalance(d: Side, a: Side, mode: Mode) -> Floats:
    """Above 0: d has fewer rows."""
    return _over(a.n - d.n, a.n + d.n, mode)


def label_proportions(d: Side, a: Side, mode: Mode) -> Floats:
    """Above 0: a has more positive labels."""
    return _over(a.labelled(1), a.n, mode) - _over(d.labelled(1), d.n, mode)


def predicted_proportions(d: Side, a: Side, mode: Mode) -> Floats:
    """Above 0: a has more positive predictions."""
    return _over(a.called(1), a.n, mode) - _over(d.called(1), d.n, mode)


def disparate_impact(d: Side, a: Side, mode: Mode) -> Floats:
    """Share of positive predictions in d to that in a; 1 is neutral."""
    return _over(_over(d.called(1), d.n, mode), _over(a.called(1), a.n, mode), mode)


def kullback_leibler(d: Side, a: Side, mode: Mode) -> Floats:
    """In nats, of a's labels from d's."""
    of_d, of_a, _ = distributions(d, a, mode)
    return _relative_entropy(of_a, of_d)


def jensen_shannon(d: Side, a: Side, mode: Mode) -> Floats:
    """In nats."""
    of_d, of_a, _ = distributions(d, a, mode)
    middle = (of_d + of_a) / 2
    return (_relative_entropy(of_a, middle) + _relative_entropy(of_d, middle)) / 2


def l2_norm(d: Side, a: Side, mode: Mode) -> Floats:
    """Euclidean distance of the label distributions."""
    of_d, of_a, _ = distributions(d, a, mode)
    return np.asarray(np.sqrt(((of_a - of_d) ** 2).sum(-1)))


def total_variation(d: Side, a: Side, mode: Mode) -> Floats:
    """Half of the summed differences of the label distributions."""
    of_d, of_a, _ = distributions(d, a, mode)
    return np.asarray(np.abs(of_a - of_d).sum(-1) / 2)


def kolmogorov_smirnov(d: Side, a: Side, mode: Mode) -> Floats:
    """Largest difference of the label distributions."""
    of_d, of_a, _ = distributions(d, a, mode)
    return np.asarray(np.abs(of_a - of_d).max(-1))


def conditional_labels(d: Side, a: Side, mode: Mode) -> Floats:
    """Above 0: within groups, d has a larger share of the rejected than of the accepted labels."""
    return _conditional(d.labels(), a.labels(), mode)


def conditional_predictions(d: Side, a: Side, mode: Mode) -> Floats:
    """The same of predictions."""
    return _conditional(d.predictions(), a.predictions(), mode)


def conditional_acceptance(d: Side, a: Side, mode: Mode) -> Floats:
    """Positive labels to positive predictions, a - d."""
    return _minus(_over(a.labelled(1), a.called(1), mode), _over(d.labelled(1), d.called(1), mode), mode)


def conditional_rejection(d: Side, a: Side, mode: Mode) -> Floats:
    """Negative labels to negative predictions, d - a."""
    return _minus(_over(d.labelled(0), d.called(0), mode), _over(a.labelled(0), a.called(0), mode), mode)


def recall(d: Side, a: Side, mode: Mode) -> Floats:
    """Recall, a - d."""
    return _over(a.of(1, 1), a.labelled(1), mode) - _over(d.of(1, 1), d.labelled(1), mode)


def specificity(d: Side, a: Side, mode: Mode) -> Floats:
    """Specificity, d - a."""
    return _over(d.of(0, 0), d.labelled(0), mode) - _over(a.of(0, 0), a.labelled(0), mode)


def acceptance(d: Side, a: Side, mode: Mode) -> Floats:
    """Precision, a - d."""
    return _over(a.of(1, 1), a.called(1), mode) - _over(d.of(1, 1), d.called(1), mode)


def rejection(d: Side, a: Side, mode: Mode) -> Floats:
    """Share of negative predictions that are right, d - a."""
    return _over(d.of(0, 0), d.called(0), mode) - _over(a.of(0, 0), a.called(0), mode)


def accuracy(d: Side, a: Side, mode: Mode) -> Floats:
    """Accuracy, a - d."""
    return _over(a.of(1, 1) + a.of(0, 0), a.n, mode) - _over(d.of(1, 1) + d.of(0, 0), d.n, mode)


def treatment_equality(d: Side, a: Side, mode: Mode) -> Floats:
    """False negatives to false positives, d - a."""
    return _minus(_over(d.of(1, 0), d.of(0, 1), mode), _over(a.of(1, 0), a.of(0, 1), mode), mode)


def generalized_entropy(d: Side, a: Side, mode: Mode) -> Floats:
    """Inequality of benefits (prediction - label + 1) over all rows; the facet does not matter."""
    del mode
    even = sum(side.of(0, 0) + side.of(1, 1) for side in (d, a))
    twice = d.of(0, 1) + a.of(0, 1)
    n = d.n + a.n
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (even + 2 * twice) / n
        found = ((even + 4 * twice) / mean**2 - n) / (2 * n)
    return np.where(mean > 0, found, np.nan)


def _over(above: Floats, below: Floats, mode: Mode) -> Floats:
    """The quotient; x/0 is infinite, 0/0 is 0 or not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(above / below, dtype=np.float64)
    if mode == "clarify":
        found = np.where((above == 0) & (below == 0), 0.0, found)
    return found


def _minus(left: Floats, right: Floats, mode: Mode) -> Floats:
    with np.errstate(invalid="ignore"):
        found = np.asarray(left - right)
    both = np.isinf(left) & np.isinf(right)
    return np.where(both, 0.0 if mode == "clarify" else np.nan, found)


def distributions(d: Side, a: Side, mode: Mode) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Shares of the labels on both sides, and which labels both sides have."""
    of_d, of_a = (side.labels().sum(-2) for side in (d, a))
    with np.errstate(divide="ignore", invalid="ignore"):
        of_d, of_a = (counts / counts.sum(-1, keepdims=True) for counts in (of_d, of_a))
    shared = (of_d > 0) & (of_a > 0)
    if mode == "clarify":
        of_d, of_a = np.where(shared, of_d, 0.0), np.where(shared, of_a, 0.0)
    return of_d, of_a, shared


def _relative_entropy(of: Floats, against: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = of * np.log(of / against)
    return np.asarray(np.where(of == 0, 0.0, terms).sum(-1))


def _conditional(d: Floats, a: Floats, mode: Mode) -> Floats:
    """Demographic disparity, averaged over groups by their size; 0/0 within a group is 0."""
    del mode
    both = d + a
    shares = np.divide(d, both, out=np.zeros_like(both), where=both > 0)
    disparity = shares[..., 0] - shares[..., 1]
    sizes = both.sum(-1)
    return _over((sizes * disparity).sum(-1), sizes.sum(-1), "exact")
