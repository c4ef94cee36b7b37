"""What InvokeEndpointAsync allows, and where answers go."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.asynchronous.admission import admit, name
from serving.asynchronous.configuration import Configuration
from serving.asynchronous.errors import Invalid

PLACES = Configuration(output_path="s3://bucket/answers/", failure_path="s3://bucket/failures")


def admitted(headers=None, body=b"x", configuration=PLACES):
    return admit("late", headers or {}, body, configuration, 1000.0, "id-1")


def test_defaults():
    request = admitted()
    assert (request.inference_id, request.timeout, request.expires) == ("id-1", 900, 1000.0 + 21600)
    assert request.output_location == "s3://bucket/answers/id-1.out"
    assert request.failure_location == "s3://bucket/failures/id-1-error.out"
    assert admitted(configuration=Configuration(output_path="s3://b")).failure_location == ""


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-amzn-sagemaker-inputlocation", "s3://b/k"),
        ("x-amzn-sagemaker-inputlocation", "ftp://b/k"),
        ("x-amzn-sagemaker-content-type", "ü"),
        ("x-amzn-sagemaker-accept", "x" * 1025),
        ("x-amzn-sagemaker-custom-attributes", "x" * 1025),
        ("x-amzn-sagemaker-inference-id", ""),
        ("x-amzn-sagemaker-inference-id", " x"),
        ("x-amzn-sagemaker-inference-id", "x" * 65),
        ("x-amzn-sagemaker-s3outputpathextension", "s3://b"),
        ("x-amzn-sagemaker-s3outputpathextension", "a/../../b"),
        ("x-amzn-sagemaker-s3outputpathextension", "x" * 513),
        ("x-amzn-sagemaker-filename", "../x"),
        ("x-amzn-sagemaker-filename", "a.b.c"),
        ("x-amzn-sagemaker-filename", "x" * 33),
        ("x-amzn-sagemaker-requestttlseconds", "59"),
        ("x-amzn-sagemaker-requestttlseconds", "21601"),
        ("x-amzn-sagemaker-requestttlseconds", "1e3"),
        ("x-amzn-sagemaker-invocationtimeoutseconds", "0"),
        ("x-amzn-sagemaker-invocationtimeoutseconds", "3601"),
    ],
)
def test_refused(header, value):
    with pytest.raises(Invalid):
        admitted({header: value})


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://shop.s3.eu-west-1.amazonaws.com/in/a%20b.csv", "s3://shop/in/a b.csv"),
        ("https://my.shop.s3.amazonaws.com/k", "s3://my.shop/k"),
        ("https://shop.s3.dualstack.us-gov-east-1.amazonaws.com/k", "s3://shop/k"),
        ("https://s3-us-west-2.amazonaws.com/shop/a/k", "s3://shop/a/k"),
        ("https://s3.cn-north-1.amazonaws.com.cn/shop/k", "s3://shop/k"),
    ],
)
def test_s3_s_own_addresses_name_its_objects(location, named):
    assert admitted({"x-amzn-sagemaker-inputlocation": location}, b"").input_location == named


@pytest.mark.parametrize(
    "location",
    [
        "https://example.org/k",
        "https://shop.s3.eu-west-1.amazonaws.com.example.org/k",
        "https://me@shop.s3.amazonaws.com/k",
        "https://shop.s3.amazonaws.com:8443/k",
        "https://shop.s3.amazonaws.com/k?X-Amz-Signature=1",
        "https://shop.s3.amazonaws.com/%00",
        "https://shop.s3.amazonaws.com/%ff",
        "https://[shop/k",
        "https://shop.s3.amazonaws.com/",
    ],
)
def test_other_addresses_are_refused(location):
    with pytest.raises(Invalid, match="s3://bucket/key"):
        admitted({"x-amzn-sagemaker-inputlocation": location}, b"")


def test_exactly_one_input():
    for headers, body in (({}, b""), ({"x-amzn-sagemaker-inputlocation": "s3://b/k"}, b"x")):
        with pytest.raises(Invalid, match="either InputLocation or Body"):
            admitted(headers, body)
    for location in ("https://b/k", "s3://b", "s3://b/"):
        with pytest.raises(Invalid):
            admitted({"x-amzn-sagemaker-inputlocation": location}, b"")
    assert admitted(body=b"x" * 128_000).body
    with pytest.raises(Invalid):
        admitted(body=b"x" * 128_001)


@pytest.mark.parametrize("endpoint", ["", "-a", "a-", "a_b", "a/b", "x" * 64])
def test_names(endpoint):
    with pytest.raises(Invalid):
        name(endpoint)


@given(
    st.text("abc._/-'()!*", min_size=1, max_size=20),
    st.text("ab1-_.", min_size=1, max_size=20),
)
def test_no_answer_leaves_its_folder(extension, file):
    headers = {"x-amzn-sagemaker-s3outputpathextension": extension, "x-amzn-sagemaker-filename": file}
    try:
        request = admitted(headers)
    except Invalid:
        return
    assert request.output_location.startswith("s3://bucket/answers/")
    assert ".." not in PurePosixPath(request.output_location).parts
    assert request.failure_location.endswith("-error.out")
