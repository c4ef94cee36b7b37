"""What the label is called in a live bias report, whatever the package's baseline calls it."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from configs.monitor import Monitor
from flows.monitoring import kinds
from flows.monitoring.executions import Execution, Status
from flows.monitoring.exporting import cloudwatch_lines
from flows.monitoring.kinds import Material
from flows.monitoring.subject import Subject
from flows.monitoring.windows import Window
from monitoring.bias.analysis import analyse
from monitoring.bias.settings import BiasConfig, Facet
from serving.manifest import Input, Manifest, ParityRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON - timedelta(hours=1), NOON)
MANIFEST = Manifest(
    "m", "binary", "skops", (0, 1), (Input("sex", "string"),), ParityRecord(0, None, passed=False)
)
SECTION = {
    "label_values_or_threshold": [1],
    "facets": [{"name": "sex", "values": ["F"]}],
    "resamples": 50,
    "methods": ["DPL", "DPPL"],
}
MONITOR = Monitor.model_validate_json(json.dumps({"bias": SECTION}))


def rows(late: float) -> pl.DataFrame:
    """Flights of which `late` of those of women, and half of all others, are delayed."""
    draw = np.random.default_rng(5)
    sex = draw.choice(["F", "M"], 2000)
    truth = (draw.random(2000) < np.where(sex == "F", late, 0.5)).astype(int).astype(str)
    return pl.DataFrame({"sex": sex, "@predicted_label": truth[::-1], "@label": truth})


def baseline(name: str) -> dict:
    config = BiasConfig((1,), (Facet("sex", ("F",)),), methods=("DPL", "DPPL"), label_name=name)
    return dict(analyse(rows(0.5), config, None, seed=7).documents["analysis.json"])


def material(folder, known, target="", late=0.5):
    (folder / "baseline").mkdir(parents=True)
    (folder / "seaway.json").write_bytes(MANIFEST.to_json())
    if known is not None:
        (folder / "baseline/bias.json").write_text(json.dumps(known))
    stretch = SimpleNamespace(rows=lambda: rows(late), window=WINDOW)
    return Material(Subject("v1", "m", "1", folder), stretch, MONITOR, target)


def labels(finding):
    """By where it is told."""
    analysis = finding.documents["analysis.json"]
    execution = Execution("prod", "bias", "ModelBias", WINDOW, Status.COMPLETED, NOON, NOON)
    lines = map(json.loads, cloudwatch_lines(execution, finding.figures).splitlines())
    sent = [{one["Name"]: one["Value"] for one in line["Dimensions"]}["Label"] for line in lines]
    return {block["label"] for name, block in analysis.items() if name != "version"} | set(sent)


@pytest.mark.parametrize(
    ("known", "target", "expected"),
    [
        (baseline("delayed"), "", "delayed"),
        (baseline("delayed"), "renamed", "delayed"),
        (baseline("@label"), "delayed", "delayed"),
        (baseline("@label"), "", "label"),
        (None, "delayed", "delayed"),
        (None, "", "label"),
    ],
)
def test_reports_and_dimensions_name_the_label(tmp_path, known, target, expected):
    found = kinds.bias(material(tmp_path, known, target))
    assert labels(found) == {expected}
    assert "@label" not in json.dumps([found.documents["analysis.json"], *found.notes])


@pytest.mark.parametrize("name", ["delayed", "@label"])
def test_a_baseline_is_compared_with_whatever_it_calls_the_label(tmp_path, name):
    same = kinds.bias(material(tmp_path / "same", baseline(name), "delayed"))
    worse = kinds.bias(material(tmp_path / "worse", baseline(name), "delayed", late=0.9))
    assert not same.violations
    assert "DPL" in {dict(one.subject)["metric_name"] for one in worse.violations}
    assert not [note for note in (*same.notes, *worse.notes) if "no value to compare" in note]
