"""From an approved version and its project file to what the model servers are told."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from configs.endpoints import Production
from configs.hosting import Asynchronous, Capture
from deploy.backlogs import INSTANCES
from deploy.port import ASYNCHRONOUS
from deploy.release import Container, Release
from flows.dossier import Dossier
from serving.loading import MODELS, PIPELINE

Environment = tuple[tuple[str, str], ...]
"""Variables of model servers."""
CHANGES = "serverless"
"""Folder of the home with limits of concurrency that were changed while the endpoint served."""
_KINDS = {PIPELINE: "pipeline", MODELS: "multi-model"}


def release(dossier: Dossier, instance_count: int = 1, environment: Environment = ()) -> Release:
    """The release of an approved version; what the platform tells goes before the project's own variables."""
    version, box = dossier.version, dossier.project.container
    own = tuple(sorted(dossier.project.environment.items()))
    return Release(
        version.model,
        version.version,
        dossier.approval.digest,
        instance_count,
        (*own, *environment),
        Container(box.image, box.memory_size_in_mb * 1024 * 1024, box.cpus, box.profile),
        dossier.project.target or "",
    )


def production_release(dossier: Dossier, home: Path) -> Release:
    """The release as production runs it."""
    production = dossier.project.production
    made = release(dossier, instances(production), instance_environment(production, home))
    return replace(made, scaling=production.scaling)


def kind(archive: Path) -> str:
    """What a package holds: `pipeline`, `multi-model`, or empty for one model."""
    with tarfile.open(archive, "r:gz") as tar:
        names = {PurePosixPath(name).as_posix() for name in tar.getnames()}
    return next((word for file, word in _KINDS.items() if file in names), "")


def instances(production: Production) -> int:
    """How many instances production has; a serverless endpoint has one, which starts model servers itself."""
    return 1 if production.serverless else production.instance_count


def instance_environment(production: Production, home: Path) -> Environment:
    """What the model servers of production are told. Keys stay in variables of the platform's environment."""
    told: list[tuple[str, str]] = []
    if production.capture:
        told.append(("SEAWAY_CAPTURE", json.dumps(_capture(production.capture, home))))
    if production.explain:
        explain = production.explain.model_dump(exclude_none=True)
        explain["time_share"] = production.explain.time_share  # a number, where the project file writes 50%
        told.append(("SEAWAY_EXPLAIN", json.dumps(explain)))
    if serverless := production.serverless:
        asked = serverless.model_dump(exclude={"idle"}) | {"idle_seconds": serverless.idle.total_seconds()}
        asked["changes"] = str(home / CHANGES)
        if production.asynchronous:
            most = production.asynchronous.max_payload
            asked |= {"invocation_seconds": 3600, "max_request_mb": most, "max_response_mb": most}
        told.append(("SEAWAY_SERVERLESS", json.dumps(asked)))
    if production.asynchronous:
        told.append(("SAGEMAKER_MAX_PAYLOAD_IN_MB", str(production.asynchronous.max_payload)))
        told.append(("SAGEMAKER_MODEL_SERVER_TIMEOUT", "3600"))
        told.append((ASYNCHRONOUS, json.dumps(_asynchronous(production, production.asynchronous))))
    return tuple(told)


def _capture(capture: Capture, home: Path) -> dict[str, Any]:
    return {
        "destination": capture.destination or str(home / "captures"),
        "sampling": capture.sampling,
        "modes": [capture.mode],
        "csv_content_types": list(capture.csv_content_types),
        "json_content_types": list(capture.json_content_types),
        "max_disk_percent": capture.max_disk,
        **({"key_variable": capture.encryption_key.removeprefix("env:")} if capture.encryption_key else {}),
        **({"kms_key_id": capture.kms_key_id} if capture.kms_key_id else {}),
    }


def _asynchronous(production: Production, asked: Asynchronous) -> dict[str, Any]:
    """What the asynchronous service is told of the endpoint as long as this release serves it."""
    told = asked.model_dump(exclude={"max_payload", "scaling"}, exclude_none=True, mode="json")
    if production.serverless:  # more at once would only be throttled
        name = "max_concurrent_invocations_per_instance"
        told[name] = min(told[name], production.serverless.max_concurrency)
    return {**told, INSTANCES: instances(production)}
