"""What a captured line holds, who is in the sample, and which settings are taken."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.hosting import Capture
from serving.capture import CaptureInvalid, Exchange, body, from_environment
from serving.capture.record import line, sampled
from serving.capture.settings import parse

AT = 1_644_859_549.7  # 2022-02-14T17:25:49.7Z


def exchange(**changes) -> Exchange:
    values = {
        "event_id": "5b8d3c4e-0000-4000-8000-000000000001",
        "at": AT,
        "content_type": "text/csv",
        "body": b"1,2\n",
        "answer_content_type": "text/csv; charset=utf-8",
        "answer_body": b"0.5",
    }
    return Exchange(**values | changes)


def settings(**entries):
    return parse(json.dumps({"destination": "/captures"} | entries))


def test_a_line_is_sagemakers_byte_for_byte() -> None:
    made = line(exchange(inference_id="7", custom_attributes="a=b"), settings())
    assert made == (
        b'{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"1,2\\n",'
        b'"encoding":"CSV"},"endpointOutput":{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT",'
        b'"data":"0.5","encoding":"CSV"}},"eventMetadata":{"eventId":"5b8d3c4e-0000-4000-8000-000000000001",'
        b'"customAttributes":["a=b"],"inferenceId":"7","inferenceTime":"2022-02-14T17:25:49Z"},"eventVersion":"0"}\n'
    )


def test_entries_that_were_not_sent_are_not_there() -> None:
    metadata = json.loads(line(exchange(), settings()))["eventMetadata"]
    assert list(metadata) == ["eventId", "inferenceTime"]


@pytest.mark.parametrize(
    ("modes", "sides"),
    [
        (["Input"], ["endpointInput"]),
        (["Output"], ["endpointOutput"]),
        (["Output", "Input"], ["endpointInput", "endpointOutput"]),
        (["InputAndOutput"], ["endpointInput", "endpointOutput"]),
    ],
)
def test_modes(modes: list[str], sides: list[str]) -> None:
    assert list(json.loads(line(exchange(), settings(modes=modes)))["captureData"]) == sides


@pytest.mark.parametrize(
    ("content_type", "sent", "encoding"),
    [
        ("text/csv", b"1", "CSV"),
        ("Text/CSV ; header=present", b"1", "CSV"),
        ("application/json", b"[1]", "JSON"),
        ("application/json;charset=utf-8", b"[1]", "JSON"),
        ("", b"[1]", "JSON"),
        ("application/x-npy", b"\x93NUMPY", "BASE64"),
        ("text/csv", b"\xff\xfe", "BASE64"),
        ("application/vnd.own+json", b"{}", "BASE64"),
    ],
)
def test_encodings(content_type: str, sent: bytes, encoding: str) -> None:
    side = json.loads(line(exchange(content_type=content_type, body=sent), settings()))["captureData"][
        "endpointInput"
    ]
    assert (side["observedContentType"], side["encoding"]) == (content_type, encoding)
    assert body(side) == sent
    if encoding == "BASE64":
        assert base64.b64decode(side["data"]) == sent


def test_own_content_types() -> None:
    own = settings(json_content_types=["application/vnd.own+json; v=1"], csv_content_types=[])
    record = json.loads(line(exchange(content_type="application/vnd.own+json", body=b"{}"), own))
    assert record["captureData"]["endpointInput"]["encoding"] == "JSON"
    assert record["captureData"]["endpointOutput"]["encoding"] == "BASE64"


@given(st.binary(max_size=200), st.sampled_from(["text/csv", "application/json", "image/png", ""]))
def test_every_body_comes_back(sent: bytes, kind: str) -> None:
    made = line(exchange(content_type=kind, body=sent, answer_body=sent), settings())
    assert made.count(b"\n") == 1
    sides = json.loads(made)["captureData"]
    assert body(sides["endpointInput"]) == body(sides["endpointOutput"]) == sent


@given(st.uuids(), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_sample_holds_a_smaller_one(event, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert sampled(str(event), large) or not sampled(str(event), small)


def test_the_sample_has_its_share() -> None:
    ids = [f"{number:032x}" for number in range(20_000)]
    assert not any(sampled(one, 0) for one in ids)
    assert all(sampled(one, 100) for one in ids)
    assert sum(sampled(one, 20) for one in ids) == pytest.approx(4000, abs=170)  # three deviations


def test_the_sample_is_a_fixed_rule() -> None:
    """Replicas of different versions must agree: the first digit of the SHA-256 below 8 is one half."""
    ids = [f"event-{number}" for number in range(50)]
    halves = [hashlib.sha256(one.encode()).hexdigest() < "8" for one in ids]
    assert [sampled(one, 50) for one in ids] == halves


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "no JSON"),
        ("[]", "JSON object"),
        ("{}", "needs a destination"),
        ('{"destination": "relative"}', "destination"),
        ('{"destination": "s3:/bucket"}', "destination"),
        ('{"destination": "s3://B"}', "destination"),
        ('{"destination": "/x", "sample": 1}', "no entry 'sample'"),
        ('{"destination": "/x", "sampling": 101}', "sampling"),
        ('{"destination": "/x", "sampling": "20"}', "sampling"),
        ('{"destination": "/x", "sampling": true}', "sampling"),
        ('{"destination": "/x", "modes": []}', "modes"),
        ('{"destination": "/x", "modes": ["Both"]}', "modes"),
        ('{"destination": "/x", "csv_content_types": "text/csv"}', "csv_content_types"),
        ('{"destination": "/x", "queue_items": 0}', "queue_items"),
        ('{"destination": "/x", "rotate_seconds": 0}', "rotate_seconds"),
        ('{"destination": "/x", "max_disk_percent": -1}', "max_disk_percent"),
        ('{"destination": "/x", "key_variable": 1}', "key_variable"),
        ('{"destination": "/x", "kms_key_id": "k"}', "kms_key_id"),
        ('{"destination": "/x", "spool": "/y"}', "spool"),
        ('{"destination": "s3://bucket", "spool": "y"}', "spool"),
    ],
)
def test_wrong_settings_are_named(text: str, named: str) -> None:
    with pytest.raises(CaptureInvalid, match=named):
        parse(text)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SEAWAY_ENDPOINT": ""}, "SEAWAY_ENDPOINT"),
        ({"SEAWAY_VARIANT": "../x"}, "SEAWAY_VARIANT"),
        ({"KEY": ""}, "KEY"),
        ({"KEY": base64.b64encode(b"short").decode()}, "32 bytes"),
        ({"KEY": "%%"}, "32 bytes"),
    ],
)
def test_a_wrong_environment_is_named(tmp_path, changes: dict[str, str], named: str) -> None:
    environ = {
        "SEAWAY_CAPTURE": json.dumps({"destination": str(tmp_path), "key_variable": "KEY"}),
        "SEAWAY_ENDPOINT": "late",
        "SEAWAY_VARIANT": "blue",
        "KEY": base64.b64encode(bytes(32)).decode(),
    }
    with pytest.raises(CaptureInvalid, match=named):
        from_environment(environ | changes)


def test_capture_stops_at_three_quarters_of_the_disk() -> None:
    assert parse('{"destination": "/x"}').max_disk_percent == Capture().max_disk == 75


def test_no_settings_no_recorder() -> None:
    assert from_environment({"SEAWAY_ENDPOINT": "late"}) is None
