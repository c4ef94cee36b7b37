from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.transform.errors import ObjectFailed
from steps.transform.job import (
    CSV,
    JSON,
    JSONLINES,
    DataCaptureConfig,
    DataProcessing,
    Job,
    TransformInput,
    TransformOutput,
)
from steps.transform.joining import Shaper, cells, join
from steps.transform.records import Payload

AT = datetime(2026, 11, 23, 14, 5, 6, tzinfo=UTC)
DIGEST = "ab" * 32


def shaper(media: str, *, line: str = "Line", capture: bool = False, **processing: str) -> Shaper:
    job = Job(
        "j",
        "m/1",
        TransformInput("in", content_type=media, split_type=line),
        TransformOutput("out", accept=media, assemble_with=line),
        data_processing=DataProcessing(**processing),
        data_capture_config=DataCaptureConfig("s3://b/c", generate_inference_id=True) if capture else None,
    )
    job.check()
    return Shaper(job, "a.csv", DIGEST, AT)


def results(made: Shaper, rows: list[bytes], answer: bytes) -> list[bytes]:
    return list(made.results(rows, made.answers(answer, len(rows)), 1))


def test_the_documented_example() -> None:
    made = shaper(CSV, input_filter="$[1:]", output_filter="$[0,-1]", join_source="Input")
    assert made.body(Payload(1, 2, b"id1,2,3\nid2,4,5")) == b"2,3\n4,5"
    assert results(made, [b"id1,2,3", b"id2,4,5"], b"0.5\n0.7\n") == [b"id1,0.5", b"id2,0.7"]


def test_joins() -> None:
    assert results(shaper(CSV, join_source="Input"), [b"1,2,3"], b"1\n") == [b"1,2,3,1"]
    assert join({"key": 1}, 2) == {"key": 1, "SageMakerOutput": 2}
    assert join({"key": 1, "SageMakerOutput": 9}, 2) == {"key": 1, "SageMakerOutput": 2}
    assert join([1], 2) == {"SageMakerInput": [1], "SageMakerOutput": 2}
    lines = shaper(JSONLINES, join_source="Input")
    assert results(lines, [b'{"key":1}', b"[1]"], b'{"p":2}\n3\n') == [
        b'{"key":1,"SageMakerOutput":{"p":2}}',
        b'{"SageMakerInput":[1],"SageMakerOutput":3}',
    ]


def test_one_json_answer_may_have_several_lines() -> None:
    made = shaper(JSON, line="None", join_source="Input", output_filter="$['id','SageMakerOutput']")
    assert results(made, [b'{"id": 12345678901234567890123, "x": [1]}'], b'{\n "p": 1.50\n}\n') == [
        b'{"id":12345678901234567890123,"SageMakerOutput":{"p":1.50}}'
    ]


def test_filters_without_a_join() -> None:
    assert results(shaper(CSV, output_filter="$[-1]"), [], b"a,1\nb,2\r\n") == [b"1", b"2"]
    made = shaper(JSONLINES, input_filter="$.features", output_filter="$.score")
    assert made.body(Payload(5, 2, b'{"features":[1,2]}\n{"features":"\xc3\xa4"}')) == '[1,2]\n"ä"'.encode()
    assert results(made, [], b'{"score":1}\n{"score":null}') == [b"1", b"null"]


def test_without_any_wish_nothing_is_touched() -> None:
    made = shaper(CSV)
    assert not made.shapes
    assert not made.filters
    assert made.body(Payload(1, 1, b"as,it is")) == b"as,it is"


def test_ids_are_appended_last_and_are_the_same_again() -> None:
    made = shaper(CSV, capture=True, output_filter="$[0]")
    found = results(made, [b"x", b"y"], b"a,1\nb,2")
    assert [row.split(b",")[0] for row in found] == [b"a", b"b"]
    ids = [uuid.UUID(row.split(b",")[1].decode()) for row in found]
    assert len(set(ids)) == 2
    assert {row.split(b",")[2] for row in found} == {b"2026-11-23T14:05:06Z"}
    assert found == results(shaper(CSV, capture=True, output_filter="$[0]"), [b"x", b"y"], b"a,1\nb,2")
    value = json.loads(results(shaper(JSONLINES, capture=True), [b"x"], b"[1]")[0])
    assert set(value) == {"SageMakerOutput", "SageMakerInferenceId", "SageMakerInferenceTime"}


@pytest.mark.parametrize("answer", [b"1\n", b"1\n2\n3\n"])
def test_a_join_needs_an_answer_to_every_record(answer: bytes) -> None:
    with pytest.raises(ObjectFailed, match="cannot be joined"):
        results(shaper(CSV, join_source="Input"), [b"a", b"b"], answer)


def test_bad_records_are_numbered() -> None:
    with pytest.raises(ObjectFailed, match="record 8: it has 1 values"):
        shaper(CSV, input_filter="$[1]").body(Payload(7, 2, b"a,b\nc"))
    with pytest.raises(ObjectFailed, match="record 3 is not JSON"):
        shaper(JSONLINES, input_filter="$.a").body(Payload(3, 1, b"{"))
    with pytest.raises(ObjectFailed, match="open quote"):
        shaper(CSV, input_filter="$[1:]").body(Payload(1, 1, b'a,"line'))


def test_cells_are_kept_as_written() -> None:
    assert cells(b'1,"a,""b""", x,,') == [b"1", b'"a,""b"""', b" x", b"", b""]


@given(st.lists(st.text(max_size=5).filter(lambda one: not set(one) & set('\r\n"')), min_size=1, max_size=6))
def test_cells_add_up(values: list[str]) -> None:
    row = ",".join(f'"{value}"' if "," in value else value for value in values).encode()
    assert b",".join(cells(row)) == row
    assert len(cells(row)) == len(values)


def test_numbers_keep_every_digit_their_author_gave_them() -> None:
    made = shaper(JSONLINES, join_source="Input", output_filter="$['a','SageMakerOutput']")
    rows, answers = (
        [b'{"a": 1.10, "b": 2}', b'{"a": 123456789012345678901}'],
        b"1e400\n0.10000000000000000555",
    )
    assert results(made, rows, answers) == [
        b'{"a":1.10,"SageMakerOutput":1e400}',
        b'{"a":123456789012345678901,"SageMakerOutput":0.10000000000000000555}',
    ]


def test_half_a_surrogate_pair_is_told() -> None:
    with pytest.raises(ObjectFailed, match="record 1 cannot be written"):
        results(shaper(JSONLINES, join_source="Input"), [b'{"a": "\\ud800"}'], b"1")


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers()), min_size=1, max_size=6))
def test_joined_json_holds_both(rows: list[dict[str, int]]) -> None:
    made = shaper(JSONLINES, join_source="Input")
    answers = b"\n".join(json.dumps(n).encode() for n in range(len(rows)))
    found = results(made, [json.dumps(row).encode() for row in rows], answers)
    assert [json.loads(row) for row in found] == [{**row, "SageMakerOutput": n} for n, row in enumerate(rows)]


def test_times_of_another_job_give_other_ids() -> None:
    one = results(shaper(CSV, capture=True), [], b"a")
    job = replace(
        Job("j", "m", TransformInput("i"), TransformOutput("o", CSV, "Line")),
        data_capture_config=DataCaptureConfig("c", generate_inference_id=True),
    )
    assert one != results(Shaper(job, "a.csv", "cd" * 32, AT), [], b"a")
