"""Batch transforms to decoded hours, from the manifests and objects that a real job leaves."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from monitoring.records import Layout
from serving.capture import place
from steps.errors import DataRefused
from steps.hours import Stock, window
from steps.transform.capture import manifests
from steps.transform.job import DataCaptureConfig, Job, TransformInput, TransformOutput
from steps.transform.storage import Source
from steps.transformed import VARIANT, hours_of_batch

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
SPAN = (AT - timedelta(hours=1), AT + timedelta(hours=1))
IDS = [f"00000000-0000-5000-8000-00000000000{n}" for n in range(3)]


def leave(home: Path, objects: dict[str, tuple[bytes, bytes]], name: str = "nightly") -> None:
    """The objects of a job, its results and its manifests."""
    sources = []
    for key, (asked, told) in objects.items():
        for path, content in ((home / "in" / key, asked), (home / "out" / f"{key}.out", told)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        uri, out = str(home / "in" / key), str(home / "out" / f"{key}.out")
        sources.append(Source(key, uri, len(asked), "stamp", out))
    job = Job(
        name,
        "late",
        TransformInput(str(home / "in")),
        TransformOutput(str(home / "out")),
        data_capture_config=DataCaptureConfig(str(home / "captured"), generate_inference_id=True),
    )
    for address, content in manifests(job, sources, AT).items():
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        Path(address).write_bytes(content)


def stock(home: Path) -> Stock:
    layout = Layout((("age", "double"), ("city", "string")), "binary", (0, 1))
    return Stock(home / "monitoring/late", place(home / "none"), lambda _variant: layout)


def rows(home: Path) -> list[dict]:
    return window(stock(home).root, VARIANT, *SPAN).rows.collect().sort("@event_id").to_dicts()


CSV = b"31,Rome\n40,Oslo\n50,\n"


@pytest.mark.parametrize(
    "told",
    [
        b"1,0.9\n0,0.2\n1,0.7\n",
        b"0.9\n0.2\n0.7\n",
        b"31,Rome,1,0.9\n40,Oslo,0,0.2\n50,,1,0.7\n",
        b'{"predicted_label":1,"score":0.9}\n{"predicted_label":0,"score":0.2}\n{"predicted_label":1,"score":0.7}',
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_objects_and_results_side_by_side(tmp_path, told, packed):
    leave(tmp_path, {"a.csv": (gzip.compress(CSV) if packed else CSV, told)})
    (hour,) = hours_of_batch(stock(tmp_path), str(tmp_path / "captured"), *SPAN)
    assert hour.at == AT.replace(minute=0)
    found = rows(tmp_path)
    assert [(one["age"], one["city"]) for one in found] == [(31, "Rome"), (40, "Oslo"), (50, None)]
    assert [(one["@predicted_label"], one["@score"]) for one in found] == [("1", 0.9), ("0", 0.2), ("1", 0.7)]
    assert [one["@event_id"] for one in found] == [f"nightly/a.csv:{n}" for n in (1, 2, 3)]
    assert {one["@variant"] for one in found} == {VARIANT}


def test_inference_ids_that_the_job_has_added(tmp_path):
    time = "2026-11-23T09:30:05Z"
    plain = b"".join(b"%d,0.%d,%s,%s\n" % (n % 2, n + 1, IDS[n].encode(), time.encode()) for n in range(3))
    objects = b"".join(
        b'{"SageMakerOutput":[0.%d],"SageMakerInferenceId":"%s","SageMakerInferenceTime":"%s"}\n'
        % (n + 1, IDS[n].replace("8000", "9000").encode(), time.encode())
        for n in range(3)
    )
    leave(tmp_path, {"a.csv": (CSV, plain), "b.jsonl": (b'{"age":1}\n{"age":2}\n{"age":3}\n', objects)})
    hours_of_batch(stock(tmp_path), str(tmp_path / "captured"), *SPAN)
    found = rows(tmp_path)
    assert [one["@inference_id"] for one in found[:3]] == IDS
    assert [one["@event_id"] for one in found[:3]] == IDS
    assert {one["@at"] for one in found} == {AT.replace(second=5)}
    assert sorted(one["@score"] for one in found) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_whole_objects(tmp_path):
    out = io.BytesIO()
    pl.DataFrame({"age": [1, 2], "city": ["a", "b"]}).write_parquet(out)
    array = io.BytesIO()
    np.save(array, np.array([(3, "c")], [("age", "i8"), ("city", "U1")]))
    leave(
        tmp_path,
        {
            "a.parquet": (out.getvalue(), b"0.1\n0.9\n"),
            "b.npy": (array.getvalue(), b"[0.6]"),
            "c.json": (b'{"instances":[{"age":4},\n{"age":5}]}', b'{"predictions":[0.7,0.8]}'),
        },
    )
    hours_of_batch(stock(tmp_path), str(tmp_path / "captured"), *SPAN)
    assert [one["age"] for one in rows(tmp_path)] == [1, 2, 3, 4, 5]
    assert [one["@score"] for one in rows(tmp_path)] == [0.1, 0.9, 0.6, 0.7, 0.8]


def test_only_new_manifests_are_read(tmp_path):
    leave(tmp_path, {"a.csv": (CSV, b"1\n0\n1\n")})
    one = stock(tmp_path)
    hours_of_batch(one, str(tmp_path / "captured"), *SPAN)
    assert hours_of_batch(one, str(tmp_path / "captured"), *SPAN) == ()
    leave(tmp_path, {"b.csv": (CSV, b"1\n0\n1\n")}, "second")
    seen: list[int] = []
    hours_of_batch(one, str(tmp_path / "captured"), *SPAN, seen.append)
    assert seen == [3]
    assert len(rows(tmp_path)) == 6


def test_objects_that_are_gone(tmp_path):
    leave(tmp_path, {"a.csv": (CSV, b"1\n0\n1\n")})
    (tmp_path / "in/a.csv").unlink()
    with pytest.raises(DataRefused, match=r"a\.csv is not there any more"):
        hours_of_batch(stock(tmp_path), str(tmp_path / "captured"), *SPAN)
