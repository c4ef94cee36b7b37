"""How payloads are made and sent: the job's wish, else the model server's, else the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steps.transform.errors import JobRefused
from steps.transform.job import MEBIBYTE, MOST_IN_FLIGHT, Job

CONCURRENT, PAYLOAD, STRATEGY = 1, 6, "MultiRecord"
"""Used when neither job nor server say."""
UNLIMITED = 1_000_000
"""MiB that a server is told when the job sets no limit: one that is told 0 might refuse every body."""
_SPELLINGS = {
    "MULTI_RECORD": "MultiRecord",
    "SINGLE_RECORD": "SingleRecord",
    "MultiRecord": "MultiRecord",
    "SingleRecord": "SingleRecord",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one worker."""

    concurrent: int
    """Payloads in flight."""
    payload: int
    """Most bytes of a payload; 0 is unlimited."""
    single: bool
    """One record in each payload."""


def resolve(job: Job, parameters: Mapping[str, object]) -> Limits:
    """The limits by precedence: job, then `GET /execution-parameters`, then defaults.

    What the server offers and the job leaves open gives way where both together would be too much.

    Raises:
        JobRefused: the server's parameters are unusable.
    """
    offered = parameters.get("MaxPayloadInMB")
    payload = job.max_payload_in_mb if job.max_payload_in_mb is not None else _number(offered, PAYLOAD)
    concurrent = job.max_concurrent_transforms or int(_number(parameters.get("MaxConcurrentTransforms"), 0))
    concurrent = concurrent or CONCURRENT
    if payload and not job.max_concurrent_transforms:
        concurrent = max(1, min(concurrent, int(MOST_IN_FLIGHT // payload)))
    elif job.max_payload_in_mb is None:
        payload = min(payload, MOST_IN_FLIGHT / concurrent)
    asked = job.batch_strategy or str(parameters.get("BatchStrategy") or STRATEGY)
    if asked not in _SPELLINGS:
        raise JobRefused(
            f"/execution-parameters answers BatchStrategy {asked!r}; set the strategy in the job"
        )
    return Limits(concurrent, int(payload * MEBIBYTE), _SPELLINGS[asked] == "SingleRecord")


def environment(job: Job) -> dict[str, str]:
    """Variables of the model server, those of the job on top of all but `SAGEMAKER_BATCH`; limits only when
    the job sets them.
    """
    patience = job.model_client_config.invocations_timeout_in_seconds
    found = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": str(patience)}
    if job.max_payload_in_mb is not None:
        found["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(job.max_payload_in_mb or UNLIMITED)
    if job.batch_strategy:
        single = job.batch_strategy == "SingleRecord"
        found["SAGEMAKER_BATCH_STRATEGY"] = "SINGLE_RECORD" if single else "MULTI_RECORD"
    if job.max_concurrent_transforms:
        found["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(job.max_concurrent_transforms)
    return {**found, **dict(job.environment), "SAGEMAKER_BATCH": "true"}


def _number(value: object, default: float) -> float:
    try:
        number = default if value is None else float(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= 10_000:
        raise JobRefused(f"/execution-parameters answers {value!r} where a number belongs; set it in the job")
    return number
