from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from steps.transform.capture import manifests
from steps.transform.errors import JobRefused
from steps.transform.job import (
    CSV,
    JSON,
    DataCaptureConfig,
    DataProcessing,
    Job,
    ModelClientConfig,
    TransformInput,
    TransformOutput,
)
from steps.transform.limits import Limits, environment, resolve
from steps.transform.storage import Source

REQUEST = {
    "TransformJobName": "nightly",
    "ModelName": "late/3",
    "MaxConcurrentTransforms": 4,
    "MaxPayloadInMB": 6,
    "BatchStrategy": "MultiRecord",
    "Environment": {"B": "2", "A": "1"},
    "TransformInput": {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in/"}},
        "ContentType": "text/csv",
        "CompressionType": "Gzip",
        "SplitType": "Line",
    },
    "TransformOutput": {"S3OutputPath": "s3://b/out/", "Accept": "text/csv", "AssembleWith": "Line"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    "DataProcessing": {"InputFilter": "$[1:]", "OutputFilter": "$[0,-1]", "JoinSource": "Input"},
    "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 1},
    "DataCaptureConfig": {"DestinationS3Uri": "s3://b/capture", "GenerateInferenceId": True},
}
JOB = Job.from_request(REQUEST)
PLAIN = Job("j", "m/1", TransformInput("in"), TransformOutput("out"))


def test_a_request_comes_back() -> None:
    JOB.check()
    assert JOB.data_processing == DataProcessing("$[1:]", "$[0,-1]", "Input")
    assert Job.from_request(JOB.to_request()) == JOB
    assert Job.from_request(json.loads(json.dumps(PLAIN.to_request()))) == PLAIN


def test_the_digest_is_of_all_that_decides_the_output() -> None:
    assert JOB.digest("p") == Job.from_request({**REQUEST, "TransformResources": {}}).digest("p")
    assert JOB.digest("p") != JOB.digest("q")
    assert JOB.digest("p") != replace(JOB, max_payload_in_mb=5).digest("p")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({**REQUEST, "Tgas": 1}, "Tgas"),
        ({**REQUEST, "MaxPayloadInMB": "6"}, "must be of type int"),
        ({k: v for k, v in REQUEST.items() if k != "ModelName"}, "ModelName is missing"),
        (
            {**REQUEST, "TransformOutput": {"S3OutputPath": "s3://b/o", "KmsKeyId": "k"}},
            "KmsKeyId cannot be had",
        ),
        ({**REQUEST, "TransformResources": {"VolumeKmsKeyId": "k"}}, "VolumeKmsKeyId cannot be had"),
        ({**REQUEST, "TransformResources": {"InstanceCount": 0}}, "InstanceCount is 0"),
        ({**REQUEST, "TransformInput": []}, "TransformInput must be of type dict"),
    ],
)
def test_unreadable_requests(request_: dict[str, object], words: str) -> None:
    with pytest.raises(JobRefused, match=words):
        Job.from_request(request_)


CSV_IN, CSV_OUT = (
    TransformInput("in", content_type=CSV, split_type="Line"),
    TransformOutput("out", CSV, "Line"),
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transform_job_name": "a_b"}, "TransformJobName"),
        ({"max_payload_in_mb": 101}, "MaxPayloadInMB is 101"),
        ({"max_payload_in_mb": 30, "max_concurrent_transforms": 4}, "above 100"),
        (
            {"model_client_config": ModelClientConfig(0, 4)},
            "InvocationsTimeoutInSeconds is 0.*MaxRetries is 4",
        ),
        ({"environment": tuple((str(n), "") for n in range(17))}, "16 is the limit"),
        ({"environment": (("a", "x" * 10241),)}, "10240"),
        ({"batch_strategy": "Many"}, "BatchStrategy"),
        ({"transform_input": TransformInput("in", split_type="Lines")}, "SplitType is 'Lines'"),
        ({"data_processing": DataProcessing("$[")}, "InputFilter"),
        ({"data_processing": DataProcessing("$[0]")}, "need ContentType to be one of"),
        ({"data_processing": DataProcessing("$.a"), "transform_input": CSV_IN}, "places only"),
        (
            {"data_processing": DataProcessing(join_source="Input"), "transform_input": CSV_IN},
            "ContentType and Accept.*SplitType and AssembleWith",
        ),
        (
            {
                "data_processing": DataProcessing(join_source="Input"),
                "transform_input": replace(CSV_IN, split_type="None"),
                "transform_output": replace(CSV_OUT, assemble_with="None"),
            },
            "need SplitType Line",
        ),
        (
            {
                "data_processing": DataProcessing(output_filter="$.a"),
                "transform_output": TransformOutput("out", "image/png"),
            },
            "need Accept",
        ),
        (
            {"data_capture_config": DataCaptureConfig("c", generate_inference_id=True)},
            "inference ids need Accept",
        ),
    ],
)
def test_refused_when_submitted(changes: dict[str, object], words: str) -> None:
    with pytest.raises(JobRefused, match=words):
        replace(PLAIN, **changes).check()  # type: ignore[arg-type]


def test_json_may_be_filtered_whole() -> None:
    replace(
        PLAIN,
        transform_input=TransformInput("in", content_type=JSON),
        transform_output=TransformOutput("out", JSON),
        data_processing=DataProcessing("$.a", "$['id','SageMakerOutput']", "Input"),
    ).check()


def test_limits_by_precedence() -> None:
    offered = {"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}
    assert resolve(PLAIN, {}) == Limits(1, 6 << 20, single=False)
    assert resolve(PLAIN, offered) == Limits(8, 2 << 20, single=True)
    assert resolve(JOB, offered) == Limits(4, 6 << 20, single=False)
    assert resolve(replace(PLAIN, max_payload_in_mb=0), offered) == Limits(8, 0, single=True)
    for bad in ({"MaxPayloadInMB": "much"}, {"BatchStrategy": "ALL"}):
        with pytest.raises(JobRefused):
            resolve(PLAIN, bad)


def test_what_a_server_offers_gives_way_to_what_the_job_asks_for() -> None:
    offered = {"MaxConcurrentTransforms": 32, "MaxPayloadInMB": 25}
    assert resolve(PLAIN, offered).concurrent == 4
    assert resolve(replace(PLAIN, max_payload_in_mb=100), offered) == Limits(1, 100 << 20, single=False)
    assert resolve(replace(PLAIN, max_concurrent_transforms=8), offered) == Limits(
        8, int(12.5 * 2**20), single=False
    )


def test_environment_names_only_what_was_set() -> None:
    always = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "600"}
    assert environment(PLAIN) == always
    assert environment(replace(PLAIN, environment=(("SAGEMAKER_BATCH", "no"),))) == always
    assert environment(replace(PLAIN, max_payload_in_mb=0)) == always | {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1000000"
    }
    assert environment(JOB) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": "60",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "4",
        "A": "1",
        "B": "2",
    }


def test_manifests_name_inputs_and_outputs() -> None:
    found = [Source(key, f"s3://b/in/{key}", 1, "", f"s3://b/out/{key}.out") for key in ("a.csv", "x/b.csv")]
    made = manifests(JOB, found, datetime(2026, 11, 23, 4, tzinfo=UTC))
    assert {uri: json.loads(content) for uri, content in made.items()} == {
        "s3://b/capture/input/2026/11/23/04/nightly.json": [{"prefix": "s3://b/in/"}, "a.csv", "x/b.csv"],
        "s3://b/capture/output/2026/11/23/04/nightly.json": [
            {"prefix": "s3://b/out/"},
            "a.csv.out",
            "x/b.csv.out",
        ],
    }
    assert manifests(PLAIN, found, datetime(2026, 11, 23, tzinfo=UTC)) == {}
