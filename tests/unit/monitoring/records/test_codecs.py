"""Whatever a model server accepts is decoded to the values that its model has seen."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.payloads import plain_label
from monitoring.records import decode, layout_of
from serving import codecs
from serving.capture.record import Exchange, line
from serving.capture.settings import parse
from serving.manifest import Input, Manifest, ParityRecord
from serving.predictions import Predictions, from_probabilities

SETTINGS = parse('{"destination": "/captures"}')
INPUTS = (Input("delay", "double"), Input("hour", "double"), Input("carrier", "string"))
PARITY = ParityRecord(1, 0.0, passed=True)
MANIFEST = Manifest("m", "binary", "skops", (0, 1), INPUTS, PARITY)
ROW = {"delay": 1.5, "hour": 7, "carrier": "UA"}


def frame(
    body: bytes, media: str, manifest: Manifest = MANIFEST, answer: bytes = b"", kind: str = ""
) -> pl.DataFrame:
    at = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    modes = SETTINGS if answer else parse('{"destination": "/captures", "modes": ["Input"]}')
    exchange = Exchange("e", at, media, body, kind, answer)
    found = decode([line(exchange, modes)[:-1]], layout_of(manifest), "v1")
    assert not found.refused, found.examples
    return found.frame


def same(found: pl.DataFrame, columns: codecs.Columns) -> None:
    """Every value of the model's inputs, missing ones included."""
    for name, values in columns.items():
        seen = values.reshape(-1).tolist()
        got = found[name].to_list() if name in found.columns else [None] * len(seen)
        if values.dtype.kind == "f":
            ours = [math.nan if one is None else float(one) for one in got]
            assert ours == pytest.approx(seen, nan_ok=True, rel=0, abs=0)
        else:
            assert ["" if one is None else one for one in got] == seen


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (json.dumps({"instances": [ROW]}).encode(), codecs.JSON),
        (json.dumps(ROW).encode(), codecs.JSON),
        (b'[1.5, 7, "UA"]', codecs.JSON),
        (b'{"instances": [1.5, 7, "UA"]}', codecs.JSON),
        (json.dumps({"inputs": [ROW]}).encode(), codecs.JSON),
        (b'{"inputs": {"carrier": ["UA"], "hour": [7], "delay": [1.5]}}', codecs.JSON),
        (json.dumps({"instances": [ROW], "parameters": {}}).encode(), codecs.JSON),
        (json.dumps({"signature_name": "serving_default", "instances": [ROW]}).encode(), codecs.JSON),
        (json.dumps({"dataframe_records": [ROW], "params": {"a": 1}}).encode(), codecs.JSON),
        (b'{"columns":["carrier","hour","delay"],"index":[0],"data":[["UA",7,1.5]]}', codecs.JSON),
        (b'{"dataframe_split": {"columns": ["carrier", "hour", "delay"], "data": [["UA", 7, 1.5]]}}', codecs.JSON),
        (b'{"columns": ["z", "hour", "z", "carrier", "delay"], "data": [[0, 7, 0, "UA", 1.5]]}', codecs.JSON),
        (b'\xef\xbb\xbf[[1.5, 7, "UA"]]', codecs.JSON),
        (b'{"delay": NaN, "hour": 1, "z": Infinity}', codecs.LINES),
        (b"delay,hour,carrier,z,z\n1.5,7,UA,1,2\n", codecs.CSV),
        (b",,delay,hour,carrier\n0,0,1.5,7,UA\n", codecs.CSV),
        (b"\n\n1.5,7,UA\n\n", codecs.CSV),
        (b"carrier,hour,delay\r\nUA,7,1.5", codecs.CSV),
    ],
)  # fmt: skip
def test_every_shape_that_is_served(body, media):
    same(frame(body, media), codecs.decode(body, media, MANIFEST))


numbers = st.none() | st.integers(-(2**40), 2**40) | st.floats(-1e12, 1e12)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
tables = st.lists(st.tuples(numbers, numbers, texts), min_size=1, max_size=5)


def bodies(rows: list[tuple]) -> list[tuple[bytes, str]]:
    """The rows in every format."""
    names = [one.name for one in INPUTS]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    lists = [list(row) for row in rows]
    made = [
        (orjson.dumps({"instances": records}), codecs.JSON),
        (orjson.dumps(records), codecs.JSON),
        (orjson.dumps(lists), codecs.JSON),
        (orjson.dumps({"columns": names, "data": lists}), codecs.JSON),
        (b"\n".join(map(orjson.dumps, records)), codecs.LINES),
        (json.dumps({"instances": records}, indent=1).encode(), codecs.JSON),
    ]
    table = pl.DataFrame(
        records, {"delay": pl.Float64, "hour": pl.Float64, "carrier": pl.String}, strict=False
    )
    out = io.BytesIO()
    table.write_parquet(out)
    made.append((out.getvalue(), codecs.PARQUET))
    sink = io.BytesIO()
    arrow = pa.table({name: table[name].to_list() for name in names})
    with pa.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    made.append((sink.getvalue(), codecs.ARROW))
    header = io.BytesIO()
    table.write_csv(header, quote_style="non_numeric")
    made.append((header.getvalue(), codecs.CSV))
    return made


@given(tables)
def test_rows_of_any_values_in_every_format(rows):
    for body, media in bodies(rows):
        same(frame(body, media), codecs.decode(body, media, MANIFEST))


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-100, 100), min_size=2, max_size=2),
        min_size=1,
        max_size=6,
    )
)
def test_arrays(rows):
    manifest = Manifest("m", "binary", "skops", (0, 1), INPUTS[:2], PARITY)
    for array in (np.array(rows), np.array(rows, np.float32), np.asfortranarray(np.array(rows))):
        out = io.BytesIO()
        np.save(out, array)
        same(frame(out.getvalue(), codecs.NPY, manifest), codecs.decode(out.getvalue(), codecs.NPY, manifest))
    out = io.BytesIO()
    np.savez(out, delay=np.array(rows)[:, 0], hour=np.array(rows)[:, 1])
    same(frame(out.getvalue(), codecs.NPZ, manifest), codecs.decode(out.getvalue(), codecs.NPZ, manifest))


CLASSES = st.sampled_from([(0, 1), ("no", "yes"), (False, True), (1.0, 2.5), (0, 1, 2), ("a", "b", "c d")])


@given(
    CLASSES,
    st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(codecs.WRITABLE),
)
def test_answers_of_every_model_in_every_format(classes, weights, media):
    task = "binary" if len(classes) == 2 else "multiclass"
    manifest = Manifest("m", task, "skops", classes, INPUTS, PARITY)
    table = np.array(weights)[:, : len(classes)]
    predictions = from_probabilities(manifest, table / table.sum(axis=1, keepdims=True))
    answer = codecs.encode(predictions, media, manifest)
    rows = orjson.dumps({"instances": [ROW] * len(weights)})
    found = frame(rows, codecs.JSON, manifest, answer, media)
    assert found["@predicted_label"].to_list() == [plain_label(one) for one in predictions.labels]
    scores = found["@score"].to_list()
    assert np.array(scores) == pytest.approx(predictions.scores, rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4), st.sampled_from(codecs.WRITABLE))
def test_answers_of_a_regression(values, media):
    manifest = Manifest("m", "regression", "skops", None, INPUTS, PARITY)
    answer = codecs.encode(Predictions(np.array(values), None), media, manifest)
    found = frame(orjson.dumps([ROW] * len(values)), codecs.JSON, manifest, answer, media)
    assert found["@predicted_label"].to_list() == pytest.approx(values)


@given(
    st.binary(max_size=60),
    st.sampled_from([*codecs.READABLE, "text/plain", "image/png", ""]),
    st.binary(max_size=30),
    st.sampled_from([*codecs.WRITABLE, ""]),
)
def test_no_bytes_at_all_stop_a_decoding(body, media, answer, kind):
    at = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    odd = line(Exchange("odd", at, media, body, kind, answer), SETTINGS)[:-1]
    good = line(Exchange("good", at, codecs.JSON, orjson.dumps(ROW), codecs.CSV, b"1,0.5\n"), SETTINGS)[:-1]
    found = decode([good, odd], layout_of(MANIFEST), "v1")
    assert found.records == 2
    assert "good" in found.frame["@event_id"].to_list()
    assert not any("record cannot be decoded" in reason for reason in found.refused), found.examples


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_line_at_all_stops_a_decoding(lines):
    found = decode([one.replace(b"\n", b"") for one in lines], layout_of(MANIFEST), "v1")
    assert found.records == len(lines)
    assert found.frame.height == 0
