"""A transform job as a value: the fields of `CreateTransformJob`, and every reason to refuse one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from steps.transform import jsonpath
from steps.transform.errors import JobRefused

CSV, JSON, JSONLINES = "text/csv", "application/json", "application/jsonlines"
STRUCTURED = (CSV, JSON, JSONLINES)
"""Formats whose records can be filtered and joined."""
MEBIBYTE = 1024 * 1024
MOST_IN_FLIGHT = 100
"""MiB of all payloads that are out at a time."""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_CHOICES = {
    "S3DataType": ("S3Prefix", "ManifestFile"),
    "CompressionType": ("None", "Gzip"),
    "SplitType": ("None", "Line", "RecordIO", "TFRecord"),
    "AssembleWith": ("None", "Line"),
    "JoinSource": ("None", "Input"),
}
_STRATEGIES = ("", "MultiRecord", "SingleRecord")


@dataclass(frozen=True, slots=True)
class TransformInput:
    """What is transformed."""

    s3_uri: str
    """A folder, a file, `s3://bucket/prefix`, or with ManifestFile the manifest."""
    s3_data_type: str = "S3Prefix"
    content_type: str = ""
    compression_type: str = "None"
    split_type: str = "None"


@dataclass(frozen=True, slots=True)
class TransformOutput:
    """Where results go."""

    s3_output_path: str
    accept: str = ""
    assemble_with: str = "None"


@dataclass(frozen=True, slots=True)
class DataProcessing:
    """What the model sees of a record, and what is written of record and answer."""

    input_filter: str = "$"
    output_filter: str = "$"
    join_source: str = "None"


@dataclass(frozen=True, slots=True)
class ModelClientConfig:
    """How calls of the model are made."""

    invocations_timeout_in_seconds: int = 600
    invocations_max_retries: int = 3


@dataclass(frozen=True, slots=True)
class DataCaptureConfig:
    """Where manifests of inputs and outputs are written."""

    destination_s3_uri: str
    generate_inference_id: bool = False
    """Append an id and the job's time to every output record."""


@dataclass(frozen=True, slots=True)
class Job:
    """One transform job."""

    transform_job_name: str
    model_name: str
    transform_input: TransformInput
    transform_output: TransformOutput
    max_concurrent_transforms: int = 0
    """Payloads in flight per worker; 0 leaves it to the model server."""
    max_payload_in_mb: int | None = None
    """MiB of a payload; 0 is unlimited and sent in chunks, None leaves it to the model server."""
    batch_strategy: str = ""
    """MultiRecord or SingleRecord; empty leaves it to the model server."""
    environment: tuple[tuple[str, str], ...] = ()
    data_processing: DataProcessing = field(default_factory=DataProcessing)
    model_client_config: ModelClientConfig = field(default_factory=ModelClientConfig)
    data_capture_config: DataCaptureConfig | None = None

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Self:
        """Read a `CreateTransformJob` request.

        Raises:
            JobRefused: a field is missing, unknown, or has a value that cannot be had here.
        """
        return cls(**_Reader(request, "the job").job())

    def to_request(self) -> dict[str, Any]:
        """The `CreateTransformJob` request that `from_request` reads back."""
        source, out, processing = self.transform_input, self.transform_output, self.data_processing
        client, capture = self.model_client_config, self.data_capture_config
        request: dict[str, Any] = {
            "TransformJobName": self.transform_job_name,
            "ModelName": self.model_name,
            "MaxConcurrentTransforms": self.max_concurrent_transforms,
            "Environment": dict(self.environment),
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": source.s3_data_type, "S3Uri": source.s3_uri}},
                "ContentType": source.content_type,
                "CompressionType": source.compression_type,
                "SplitType": source.split_type,
            },
            "TransformOutput": {
                "S3OutputPath": out.s3_output_path,
                "Accept": out.accept,
                "AssembleWith": out.assemble_with,
            },
            "DataProcessing": {
                "InputFilter": processing.input_filter,
                "OutputFilter": processing.output_filter,
                "JoinSource": processing.join_source,
            },
            "ModelClientConfig": {
                "InvocationsTimeoutInSeconds": client.invocations_timeout_in_seconds,
                "InvocationsMaxRetries": client.invocations_max_retries,
            },
        }
        if self.max_payload_in_mb is not None:
            request["MaxPayloadInMB"] = self.max_payload_in_mb
        if self.batch_strategy:
            request["BatchStrategy"] = self.batch_strategy
        if capture:
            request["DataCaptureConfig"] = {
                "DestinationS3Uri": capture.destination_s3_uri,
                "GenerateInferenceId": capture.generate_inference_id,
            }
        return request

    def digest(self, package: str) -> str:
        """Names everything that decides the output's bytes: the job and the sha256 of its package."""
        facts = json.dumps([self.to_request(), package], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def check(self) -> None:
        """Refuse what could not end well.

        Raises:
            JobRefused: names every problem.
        """
        if problems := [*_limits(self), *_choices(self), *_processing(self)]:
            raise JobRefused("; ".join(problems))


def _limits(job: Job) -> Iterator[str]:
    client, payload = job.model_client_config, job.max_payload_in_mb
    if not _NAME.fullmatch(job.transform_job_name):
        yield f"TransformJobName {job.transform_job_name!r} must be 1 to 63 letters, digits and inner hyphens"
    for name, value, low, high in (
        ("MaxConcurrentTransforms", job.max_concurrent_transforms, 0, 10_000),
        ("MaxPayloadInMB", payload or 0, 0, 100),
        ("InvocationsTimeoutInSeconds", client.invocations_timeout_in_seconds, 1, 3600),
        ("InvocationsMaxRetries", client.invocations_max_retries, 0, 3),
    ):
        if not low <= value <= high:
            yield f"{name} is {value}, but must be from {low} to {high}"
    if (many := job.max_concurrent_transforms) * (payload or 0) > MOST_IN_FLIGHT:
        much = f"MaxConcurrentTransforms {many} times MaxPayloadInMB {payload}"
        yield f"{much} is above {MOST_IN_FLIGHT}; lower one"
    if len(job.environment) > 16:
        yield f"Environment has {len(job.environment)} variables, but 16 is the limit"
    if any(len(key) > 1024 or len(value) > 10240 for key, value in job.environment):
        yield "Environment has a name above 1024 or a value above 10240 characters"
    if len(job.transform_input.content_type) > 256:
        yield "ContentType has more than 256 characters"


def _choices(job: Job) -> Iterator[str]:
    values = {
        "S3DataType": job.transform_input.s3_data_type,
        "CompressionType": job.transform_input.compression_type,
        "SplitType": job.transform_input.split_type,
        "AssembleWith": job.transform_output.assemble_with,
        "JoinSource": job.data_processing.join_source,
    }
    for name, value in values.items():
        if value not in _CHOICES[name]:
            yield f"{name} is {value!r}, but must be one of {', '.join(_CHOICES[name])}"
    if job.batch_strategy not in _STRATEGIES:
        yield f"BatchStrategy is {job.batch_strategy!r}, but must be MultiRecord or SingleRecord"


def _processing(job: Job) -> Iterator[str]:
    """What filters, join and inference ids need of formats, splitting and assembling."""
    wanted, capture = job.data_processing, job.data_capture_config
    content, accept = job.transform_input.content_type, job.transform_output.accept
    split, assemble = job.transform_input.split_type, job.transform_output.assemble_with
    yield from _path("InputFilter", wanted.input_filter, content)
    yield from _path("OutputFilter", wanted.output_filter, accept)
    joined = wanted.join_source == "Input"
    if joined and content != accept:
        yield f"a join needs ContentType and Accept to be the same, not {content!r} and {accept!r}"
    if joined and split != assemble:
        yield f"a join needs SplitType and AssembleWith to be the same, not {split} and {assemble}"
    if joined or wanted.input_filter != "$":
        yield from _format("ContentType", content, "SplitType", split)
    if joined or wanted.output_filter != "$" or (capture and capture.generate_inference_id):
        yield from _format("Accept", accept, "AssembleWith", assemble)


def _format(field_name: str, media: str, line_name: str, line: str) -> Iterator[str]:
    if media not in STRUCTURED:
        formats = ", ".join(STRUCTURED)
        yield f"filters, joins and inference ids need {field_name} to be one of {formats}, not {media!r}"
    elif media in {CSV, JSONLINES} and line != "Line":
        yield f"filters, joins and inference ids on {media} need {line_name} Line, not {line}"
    elif line not in {"None", "Line"}:
        yield f"filters and joins on {media} need {line_name} None or Line, not {line}"


def _path(name: str, text: str, media: str) -> Iterator[str]:
    try:
        path = jsonpath.parse(text)
        if media == CSV:
            path.selector()
    except jsonpath.PathInvalid as error:
        yield f"{name}: {error}"


class _Reader:
    """Takes known fields out of a request, with their types, and minds what is left over."""

    def __init__(self, payload: object, place: str) -> None:
        if not isinstance(payload, Mapping):
            raise JobRefused(f"{place} must be an object")
        self._left, self._place = dict(payload), place

    def take(self, name: str, kind: type, default: Any = ...) -> Any:
        value = self._left.pop(name, default)
        if value is ...:
            raise JobRefused(f"{self._place}: {name} is missing")
        if value is not default and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise JobRefused(f"{self._place}: {name} must be of type {kind.__name__}")
        return value

    def inner(self, name: str, default: Any = ...) -> _Reader:
        return _Reader(self.take(name, dict, default), name)

    def empty(self, name: str) -> None:
        """Pass over a field that says nothing."""
        if self._left.get(name) == "":
            del self._left[name]

    def finish(self) -> None:
        if self._left:
            unknown = ", ".join(sorted(map(str, self._left)))
            raise JobRefused(f"{self._place}: {unknown} cannot be had here; leave it out")

    def job(self) -> dict[str, Any]:
        self._resources(self.inner("TransformResources", {}))
        self.take("Tags", list, [])  # both say where a job belongs, in the cloud
        self.take("ExperimentConfig", dict, {})
        found = {
            "transform_job_name": self.take("TransformJobName", str),
            "model_name": self.take("ModelName", str),
            "max_concurrent_transforms": self.take("MaxConcurrentTransforms", int, 0),
            "max_payload_in_mb": self.take("MaxPayloadInMB", int, None),
            "batch_strategy": self.take("BatchStrategy", str, ""),
            "environment": tuple(
                sorted((str(k), str(v)) for k, v in self.take("Environment", dict, {}).items())
            ),
            "transform_input": self._input(self.inner("TransformInput")),
            "transform_output": self._output(self.inner("TransformOutput")),
            "data_processing": self._processing(self.inner("DataProcessing", {})),
            "model_client_config": self._client(self.inner("ModelClientConfig", {})),
            "data_capture_config": self._capture(),
        }
        self.finish()
        return found

    def _resources(self, reader: _Reader) -> None:
        """Of a cluster in the cloud: read and left aside, since the caller chooses the workers."""
        reader.take("InstanceType", str, "")
        reader.take("TransformAmiVersion", str, "")
        reader.empty("VolumeKmsKeyId")
        if (count := reader.take("InstanceCount", int, 1)) < 1:
            raise JobRefused(f"TransformResources: InstanceCount is {count}, but must be at least 1")
        reader.finish()

    def _input(self, reader: _Reader) -> TransformInput:
        source = reader.inner("DataSource").inner("S3DataSource")
        made = TransformInput(
            source.take("S3Uri", str),
            source.take("S3DataType", str),
            reader.take("ContentType", str, ""),
            reader.take("CompressionType", str, "None"),
            reader.take("SplitType", str, "None"),
        )
        source.finish()
        reader.finish()
        return made

    def _output(self, reader: _Reader) -> TransformOutput:
        made = TransformOutput(
            reader.take("S3OutputPath", str),
            reader.take("Accept", str, ""),
            reader.take("AssembleWith", str, "None"),
        )
        reader.empty("KmsKeyId")
        reader.finish()
        return made

    def _processing(self, reader: _Reader) -> DataProcessing:
        made = DataProcessing(
            reader.take("InputFilter", str, "$"),
            reader.take("OutputFilter", str, "$"),
            reader.take("JoinSource", str, "None"),
        )
        reader.finish()
        return made

    def _client(self, reader: _Reader) -> ModelClientConfig:
        made = ModelClientConfig(
            reader.take("InvocationsTimeoutInSeconds", int, 600), reader.take("InvocationsMaxRetries", int, 3)
        )
        reader.finish()
        return made

    def _capture(self) -> DataCaptureConfig | None:
        if "DataCaptureConfig" not in self._left:
            return None
        reader = self.inner("DataCaptureConfig")
        made = DataCaptureConfig(
            reader.take("DestinationS3Uri", str), reader.take("GenerateInferenceId", bool, False)
        )
        reader.finish()
        return made
