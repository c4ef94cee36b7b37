"""Manifests of what a job read and wrote, as batch data capture leaves them for monitoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from steps.transform.job import Job
from steps.transform.storage import SUFFIX, Source


def manifests(job: Job, finished: Sequence[Source], at: datetime) -> dict[str, bytes]:
    """Content by address: `input/yyyy/mm/dd/hh/NAME.json` and `output/...` below the capture destination.

    Each is a manifest as `ManifestFile` reads it. Nothing without a capture configuration or without results.
    """
    wanted = job.data_capture_config
    if wanted is None or not finished:
        return {}
    first = finished[0]
    prefixes = {
        "input": (first.uri.removesuffix(first.key), [source.key for source in finished]),
        "output": (
            job.transform_output.s3_output_path.rstrip("/") + "/",
            [source.key + SUFFIX for source in finished],
        ),
    }
    root = wanted.destination_s3_uri.rstrip("/")
    return {
        f"{root}/{kind}/{at:%Y/%m/%d/%H}/{job.transform_job_name}.json": json.dumps(
            [{"prefix": prefix}, *keys], indent=1
        ).encode()
        for kind, (prefix, keys) in prefixes.items()
    }
