"""How an endpoint serves, in the project file: capture, serverless, asynchronous calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from configs.quantity import Duration, Percent, Share
from configs.section import Section, Variable

Bucket = Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9._-]*(/.*)?$", max_length=512)]
"""A place in S3; the bucket `local` is the folder `objects` in Seaway's home."""
Topic = Annotated[str, StringConstraints(pattern=r"^(|arn:aws[^:]*:sns:.+|https?://.+|env:[A-Za-z_]\w*)$")]
"""Who is told: an SNS topic, a webhook, or `env:NAME` of a variable with an Apprise address."""


class Capture(Section):
    """Requests and answers that are kept, in SageMaker's layout, for replay and monitoring."""

    sampling: Percent = 100
    """Share of the requests; requests and answers of one event are kept or left out together."""
    mode: Literal["Input", "Output", "InputAndOutput"] = "InputAndOutput"
    """What is kept."""
    destination: str = ""
    """A folder or `s3://bucket/prefix`; `captures` in Seaway's home when empty."""
    csv_content_types: tuple[str, ...] = ("text/csv",)
    """Media types kept as text with encoding CSV."""
    json_content_types: tuple[str, ...] = ("application/json",)
    """Media types kept as text with encoding JSON; all others become BASE64."""
    max_disk: Percent = 75
    """Use of the disk above which captures are dropped; requests never are."""
    encryption_key: Variable | None = None
    """Variable `env:NAME` with 32 bytes in base64: captures are encrypted at rest with AES-GCM."""
    kms_key_id: str = ""
    """KMS key for encryption by S3."""


class Container(Section):
    """How model servers run when the target is Docker."""

    image: str = ""
    """An image that follows SageMaker's container contract; Seaway's own serving image when empty."""
    memory_size_in_mb: int = Field(default=0, ge=0, le=1024 * 1024)
    """Most memory of one container; 0 for the target's limit."""
    cpus: float = Field(default=0, ge=0, le=1024)
    """Most processors of one container; 0 for the target's limit."""
    profile: Literal["least", "root-compat", "root-writable"] = "least"
    """What it may do: nothing; the four capabilities that images need which insist on root; or that and
    write anywhere in its own file system."""


class Serverless(Section):
    """Model servers only while there are requests. The first request after a pause waits for a start."""

    memory_size_in_mb: int = Field(ge=128, le=1024 * 1024)
    """Memory of one model server; one that needs more is ended."""
    max_concurrency: int = Field(ge=1, le=200)
    """Requests answered at a time, each by a model server of its own; more are refused with 429."""
    provisioned_concurrency: int = Field(default=0, ge=0, le=200)
    """Model servers that always run."""
    idle: Duration = timedelta(minutes=5)
    """Time without a request after which a model server ends."""

    @model_validator(mode="after")
    def _provisioned_fits(self) -> Self:
        if self.provisioned_concurrency > self.max_concurrency:
            raise ValueError("provisioned_concurrency must not exceed max_concurrency")
        return self


class Explain(Section):
    """Answers that say how much each input added to the score."""

    enable: str = Field(default="`true`", max_length=64)
    """JMESPath expression that is true for the predictions to explain; a request's header overrides it."""
    baseline: Literal["typical", "rows"] = "typical"
    """What a row is compared with: one typical row of the training data, or twenty of its rows."""
    method: Literal["auto", "tree", "kernel"] = "kernel"
    """KernelSHAP for any model; `tree` is exact and quicker for some tree models, and slow to start."""
    samples: int | None = Field(default=None, ge=2)
    """Most coalitions of inputs asked per row; enough for sixteen inputs when not given."""
    time_share: Share = 0.5
    """Part of the model's time limit that explaining may take."""
    use_logit: bool = False
    """Explain the log-odds of classifiers instead of their probabilities."""
    groups: dict[str, tuple[str, ...]] = {}
    """Inputs that are explained as one, by the name of the group."""


class Scaling(Section):
    """How many instances an asynchronous endpoint has: as many as its backlog needs, down to none."""

    min_instances: int = Field(default=0, ge=0, le=64)
    """Fewest instances; with 0 nothing runs while nothing waits, and the next request waits for a start."""
    max_instances: int = Field(ge=1, le=64)
    """Most instances of one version."""
    backlog_per_instance: float = Field(default=5, gt=0)
    """Target value of `ApproximateBacklogSizePerInstance`: requests queued and in process."""
    scale_in_after: Duration = timedelta(minutes=5)
    """Time for which fewer instances must have been enough before any is ended."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_instances > self.max_instances:
            raise ValueError("min_instances must not exceed max_instances")
        return self


class Asynchronous(Section):
    """Calls that are queued on disk and answered into an object store; the endpoint takes no others."""

    output_path: Bucket
    """Where answers go; `s3://local/...` is a folder in Seaway's home."""
    failure_path: Bucket | None = None
    """Where failures go; without it they leave no object."""
    max_concurrent_invocations_per_instance: int = Field(default=4, ge=1, le=1000)
    """Calls sent to the endpoint at a time, for each of its instances."""
    success_topic: Topic = ""
    """Who is told of answers."""
    error_topic: Topic = ""
    """Who is told of failures."""
    include_inference_response_in: tuple[
        Literal["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"], ...
    ] = Field(default=(), max_length=2)
    """Messages that carry answers of up to 128 KB."""
    max_payload: Annotated[int, Field(ge=1, le=1024)] = 1024
    """Longest request in MiB that the model servers take."""
    scaling: Scaling | None = None
    """Number of instances by backlog; always `instance_count` without it."""
