"""The history of monitors as tables and as event files."""

import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from monitoring.findings import Violation
from steps.errors import DataRefused
from steps.exports import FORMATS, Judged, export
from steps.pages.view import Point

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HISTORY = (
    Point(NOON + HOUR, "f1", 0.8, 0.7, 0.9, 100, schedule="model-quality", variant="v3", look=2),
    Point(NOON, "f1", 0.9, None, None, 90, estimated=True, schedule="model-quality"),
    Point(NOON, 'age, "x"\n', None, dimensions=(("Distance", "raw"),), schedule="data-quality"),
)
JUDGED = (
    Judged(
        NOON,
        "data-quality",
        "DataQuality",
        "CompletedWithViolations",
        500,
        "v3",
        "3",
        (Violation("baseline_drift_check", "too far", (("feature_name", "age"),)),),
        ("a note",),
    ),
    Judged(NOON + HOUR, "data-quality", "DataQuality", "Completed", 400, "v3", "3"),
)


def read(file):
    return pl.read_csv(file, try_parse_dates=True) if file.suffix == ".csv" else pl.read_parquet(file)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_come_back(tmp_path, form):
    files = export(HISTORY, JUDGED, tmp_path / "out", form)
    assert [file.name for file in files] == [
        f"{name}.{form}" for name in ("figures", "executions", "violations")
    ]
    figures, executions, violations = map(read, files)
    assert figures["at"].to_list() == [NOON, NOON, NOON + HOUR]
    assert figures["name"].to_list() == ['age, "x"\n', "f1", "f1"]
    assert figures["value"].to_list() == [None, 0.9, 0.8]
    assert figures["estimated"].to_list() == [False, True, False]
    assert figures["dimensions"][0] == '{"Distance": "raw"}'
    assert executions["violations"].to_list() == [1, 0]
    assert violations.select("check", "subject", "description").row(0) == (
        "baseline_drift_check",
        '{"feature_name": "age"}',
        "too far",
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_nothing_is_a_table_with_columns(tmp_path, form):
    for file in export((), (), tmp_path, form):
        assert read(file).height == 0
        assert "at" in read(file).columns


def test_parquet_keeps_types_even_without_rows(tmp_path):
    figures = read(export((), (), tmp_path, "parquet")[0])
    assert figures.schema["at"] == pl.Datetime("us", "UTC")
    assert figures.schema["value"] == pl.Float64


def test_the_same_history_gives_the_same_bytes(tmp_path):
    one, other = (
        export(HISTORY, JUDGED, tmp_path / "a", "csv"),
        export(HISTORY[::-1], JUDGED[::-1], tmp_path / "b", "csv"),
    )
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_tensorboard_events_come_back(tmp_path):
    pytest.importorskip("tensorboardX")
    export(HISTORY, JUDGED, tmp_path, "tensorboard")
    files = export(HISTORY, JUDGED, tmp_path, "tensorboard")  # again: the first ones are replaced
    assert sorted(file.parent.name for file in files) == ["data-quality", "model-quality"]
    found = {tag: seen for file in files for tag, *seen in events(file)}
    assert found["figure/f1"] == [60, pytest.approx(0.8), (NOON + HOUR).timestamp()]
    assert found["figure/f1/low"][1] == pytest.approx(0.7)
    assert found["estimated/f1"] == [0, pytest.approx(0.9), NOON.timestamp()]
    assert {"window/violations", "window/rows"} <= set(found)


def events(file):
    """Scalars of an event file: a record is its length, a checksum, the event and another checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    while content:
        size = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + size])
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value, event.wall_time
        content = content[16 + size :]


def test_without_tensorboardx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(DataRefused, match="install the extra `tensorboard`"):
        export(HISTORY, (), tmp_path, "tensorboard")


def test_unknown_format(tmp_path):
    with pytest.raises(DataRefused, match=", ".join(FORMATS)):
        export((), (), tmp_path, "xlsx")
