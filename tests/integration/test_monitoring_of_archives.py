"""A version that no build made is watched with the baseline that it was registered with."""

from __future__ import annotations

import shutil
from dataclasses import replace

import polars as pl
import pytest

from flows.monitoring.executions import Status
from flows.monitoring.windows import on_demand
from serving import package
from steps import baseline_files, datasets
from steps.archive import Given, gather
from tests.watched import HOUR, NOON, World, sample

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
MONITOR = {"model_quality": {}, "explainability": {}}


@pytest.fixture
def training(tmp_path):
    """The rows that the model was trained on, with its target, as a file."""
    frame, truth = sample(1, 4000)
    pl.from_pandas(frame).with_columns(y=pl.Series(truth)).write_csv(tmp_path / "train.csv")
    return tmp_path / "train.csv"


@pytest.fixture
def world(tmp_path, watched_package):
    """Registers the bare package with a baseline, and serves it."""
    opened = []

    def made(baseline, *, code=False):
        bare, place, home = (tmp_path / name for name in ("bare", "place", "home"))
        if code:
            (bare / "code").mkdir(parents=True)
            (bare / "code" / "inference.py").write_text("def model_fn(folder): return None\n")
        else:
            shutil.copytree(watched_package[1], bare, ignore=shutil.ignore_patterns("baseline", ".digest"))
        place.mkdir()
        home.mkdir()
        given = Given(baseline, "y") if baseline else None
        found = gather(bare, place, given=given)
        folder = package.unpack(found.archive, tmp_path / "unpacked", found.digest)
        opened.append(World(home, (found.archive, folder, found.digest), MONITOR))
        opened[-1].folder = watched_package[1]  # which answers
        return opened[-1]

    yield made
    for one in opened:
        one.engine.dispose()


def look(world, start):
    world.now = start + HOUR
    return {one.kind: one for one in world.run().on_demand(on_demand(start, start + HOUR)).executions}


@pytest.mark.parametrize("kind", ["data", "folder"])
def test_a_shift_is_found_and_an_honest_hour_is_not(world, training, tmp_path, kind):
    if kind == "folder":  # as SageMaker's job leaves it, without what only we write
        known = baseline_files.suggest(datasets.profile(training))
        baseline_files.write(known, tmp_path / "suggested")
        (tmp_path / "suggested" / "profile.bin").unlink()
    watched = world(training if kind == "data" else tmp_path / "suggested")
    watched.capture(NOON - HOUR, rows=3000)
    watched.capture(NOON, shift=1.0)
    calm = look(watched, NOON - HOUR)
    assert calm["DataQuality"].status is Status.COMPLETED, calm["DataQuality"].violations
    assert calm["DataQuality"].rows == 3000
    told = look(watched, NOON)["DataQuality"].violations
    assert [(one.subject[0][1], one.check) for one in told] == [("x", "baseline_drift_check")]
    # What was not measured when it was registered is a note, and no failure
    for other in ("ModelQuality", "ModelExplainability"):
        assert calm[other].status is Status.COMPLETED
        assert any("nothing was compared" in note for note in calm[other].notes)


def test_the_inputs_of_somebody_s_own_code_are_watched(world, training):
    watched = world(training, code=True)
    watched.capture(NOON - HOUR, rows=3000)
    watched.capture(NOON, shift=1.0)
    calm = look(watched, NOON - HOUR)
    assert {one.status for one in calm.values()} == {Status.COMPLETED}
    assert calm["DataQuality"].notes == ()
    assert "has no seaway.json" in calm["ModelQuality"].notes[0]
    told = look(watched, NOON)["DataQuality"].violations
    assert [(one.subject[0][1], one.check) for one in told] == [("x", "baseline_drift_check")]


def test_edited_constraints_of_a_folder_hold_as_they_are(world, training, tmp_path):
    known = baseline_files.suggest(datasets.profile(training))
    features = tuple(
        replace(one, is_non_negative=True) if one.name == "z" else one for one in known.constraints.features
    )
    edited = replace(known, constraints=replace(known.constraints, features=features))
    baseline_files.write(edited, tmp_path / "suggested")
    watched = world(tmp_path / "suggested")
    watched.capture(NOON, rows=3000)
    told = look(watched, NOON)["DataQuality"].violations
    assert [(one.subject[0][1], one.check) for one in told] == [("z", "is_non_negative_check")]


def test_without_a_baseline_an_execution_says_what_is_missing(world):
    watched = world(None)
    watched.capture(NOON)
    for one in look(watched, NOON).values():
        assert one.status is Status.COMPLETED
        assert any("nothing was compared" in note for note in one.notes)
