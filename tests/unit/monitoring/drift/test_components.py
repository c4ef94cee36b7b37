"""Do the columns still go together: golden numbers, an exact test, and documents that can be trusted."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from monitoring.drift import components
from monitoring.drift.analysis import DataQuality
from monitoring.drift.encoding import learnt
from monitoring.findings import Finding

T = np.linspace(-3, 3, 61)
BEFORE = pl.DataFrame({"a": T, "b": 2 * T + 0.1 * np.sin(5 * T), "c": -T + 0.1 * np.cos(3 * T)})
AFTER = BEFORE.with_columns(b=-2 * T + 0.1 * np.sin(5 * T))


def rows(count, together=0.9, seed=1):
    """Two numbers that go together, one that does not, and a text that goes with the first."""
    rng = np.random.default_rng(seed)
    first, other, third = rng.normal(size=(3, count))
    second = together * first + np.sqrt(1 - together**2) * other
    text = np.where(first > 1, "rare", "often")
    return pl.DataFrame({"a": first, "b": second, "c": third, "d": text})


NAMES = ["a", "b", "c", "d"]
PLANE = components.fit(rows(2000), NAMES)


def test_the_golden_numbers():
    plane = components.span(learnt(BEFORE, BEFORE.columns), BEFORE)
    assert plane.axes.shape == (1, 3), "the first component has more than 65 % of the variance"
    before, after = components.errors(plane, BEFORE), components.errors(plane, AFTER)
    assert before.mean() == pytest.approx(0.033253823652156, abs=1e-9)
    assert after.mean() == pytest.approx(1.4100413547562742, abs=1e-9)
    assert components.standard_error(after) == pytest.approx(0.10505805606034413, abs=1e-9)


def test_a_relation_that_is_gone_is_found_though_every_column_is_as_ever():
    calm, gone = (components.judge(PLANE, rows(500, together, 2), 0.0125) for together in (0.9, 0.0))
    assert not calm.violated
    assert gone.violated
    assert gone.error > calm.error + 3 * calm.deviation
    assert (gone.rows, round(gone.expected, 2), gone.baseline) == (500, 0.1, PLANE.error)
    said = components.told(Finding("DataQuality", 500, details=DataQuality()), gone)
    assert said.details.rebuilt is gone
    (figure,) = said.figures
    assert (figure.name, figure.n) == ("reconstruction_error", 500)
    assert figure.low < figure.value == gone.error < figure.high
    (violation,) = said.violations
    record = violation.record()
    assert (record["constraint_check_type"], record["feature_name"]) == ("multivariate_drift_check", "@rows")
    assert components.told(Finding("DataQuality", 500, details=DataQuality()), calm).violations == ()
    assert components.judge(PLANE, rows(0), 0.0125) is None


def test_documents_are_whole_and_equal():
    document = components.document(PLANE)
    again = components.read(json.loads(json.dumps(document)))
    assert components.document(again) == document
    frame = rows(50)
    assert (components.errors(again, frame) == components.errors(PLANE, frame)).all()
    for wrong in ({"axes": [[1.0]]}, {"scale": [0.0] * 4}, {"rows": 0}):
        with pytest.raises(ValueError, match="make the baseline again"):
            components.read(document | wrong)


def test_columns_that_say_nothing_and_rows_that_are_missing():
    frame = rows(300).with_columns(e=pl.lit(4.0), f=pl.lit(None, dtype=pl.String))
    plane = components.fit(frame, [*NAMES, "e", "f"])
    assert len(plane.axes) < 4
    assert np.isfinite(components.errors(plane, pl.DataFrame({"a": [None, 1.0], "d": ["often", None]}))).all()
    for few in (frame.select("a", "e"), frame.head(1)):
        with pytest.raises(ValueError, match=r"fewer than two columns|at least two rows"):
            components.fit(few, few.columns)


def test_numbers_written_with_fewer_digits_are_no_drift():
    frame = rows(400).select("a", b=2 * pl.col("a"))
    plane = components.fit(frame, ["a", "b"])
    short = frame.with_columns(pl.all().cast(pl.Float32).cast(pl.Float64))
    assert not components.judge(plane, short, 0.5).violated
    assert components.judge(replace(plane, limit=0.0), short, 0.5).strange == 400
