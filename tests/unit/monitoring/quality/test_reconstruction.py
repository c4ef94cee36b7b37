"""Inputs that no longer move together."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from monitoring.quality import reconstruction

T = np.linspace(-3, 3, 61)
REFERENCE = np.c_[T, 2 * T + 0.1 * np.sin(5 * T), -T + 0.1 * np.cos(3 * T)]
DRIFTED = np.c_[T, -2 * T + 0.1 * np.sin(5 * T), -T + 0.1 * np.cos(3 * T)]


def test_golden() -> None:
    shape = reconstruction.components(REFERENCE, 1)
    shape = reconstruction.read(json.loads(json.dumps(shape.record())))
    assert shape.error(REFERENCE).value == pytest.approx(0.033253823652156, abs=1e-9)
    drifted = shape.error(DRIFTED)
    assert drifted.value == pytest.approx(1.4100413547562742, abs=1e-9)
    assert drifted.standard_error == pytest.approx(0.10505805606034413, abs=1e-9)


def test_as_many_components_as_the_variance_asks_for() -> None:
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(500, 3)) @ draw.normal(size=(3, 6)) + draw.normal(size=(500, 6)) / 4
    scaled = (matrix - matrix.mean(0)) / matrix.std(0)
    shape = reconstruction.components(matrix)
    theirs = PCA(n_components=0.65, svd_solver="full").fit(scaled)
    assert len(shape.axes) == theirs.n_components_
    left = scaled - theirs.inverse_transform(theirs.transform(scaled))
    assert shape.error(matrix).value == pytest.approx(np.linalg.norm(left, axis=1).mean(), rel=1e-9)


def test_strange_columns() -> None:
    matrix = REFERENCE.copy()
    matrix[3, 0], matrix[5, 1] = np.nan, np.inf
    shape = reconstruction.components(np.c_[matrix, np.ones(61), np.full(61, np.nan)])
    assert np.isfinite(shape.error(np.c_[DRIFTED, np.full((61, 2), np.nan)]).value)
    assert reconstruction.components(np.ones((9, 3))) is None
    assert reconstruction.components(REFERENCE[:1]) is None
    assert shape.error(np.empty((0, 5))) is None
