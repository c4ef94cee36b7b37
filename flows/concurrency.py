"""Change how many requests a serverless endpoint answers at once, while it serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from deploy.errors import RolloutRefused
from deploy.port import SERVERLESS
from flows.releasing import CHANGES
from flows.wiring import Wiring
from serving.environment import EnvironmentInvalid
from serving.serverless.changes import place
from serving.serverless.config import changed, read


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The limits of a serverless variant."""

    variant: str
    most: int
    """Requests answered at once; more are refused."""
    provisioned: int
    """Model servers that always run."""


def change(
    wiring: Wiring, endpoint: str, most: int | None = None, provisioned: int | None = None
) -> Concurrency:
    """Set the limits of what serves now; those not given stay. No model server that works is ended.

    They hold for this version, also when a rollback brings it back; another one has its project file's.

    Raises:
        RolloutRefused: the endpoint is not serverless, or such limits cannot be.
    """
    found = wiring.store.endpoint(endpoint)
    if found is None or found.stable is None or not found.stable.serverless:
        raise RolloutRefused(
            f"endpoint {endpoint} serves nothing serverless; use `seaway weights` to change instances"
        )
    asked = read({SERVERLESS: dict(found.stable.environment)[SERVERLESS]})
    file = place(wiring.settings.home / CHANGES, endpoint, found.stable.variant)
    wanted = {"max_concurrency": most, "provisioned_concurrency": provisioned}
    before = _told(file)
    content = json.dumps(before | {name: value for name, value in wanted.items() if value is not None})
    try:
        limits = changed(asked, content.encode())
    except EnvironmentInvalid as error:
        raise RolloutRefused(str(error)) from error
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{uuid4().hex}")
    new.write_text(content)
    new.replace(file)
    return Concurrency(found.stable.variant, limits.max_concurrency, limits.provisioned_concurrency)


def _told(file: Path) -> dict[str, Any]:
    """What was changed before."""
    if not file.exists():
        return {}
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise RolloutRefused(f"{file} is damaged ({error}); remove it and try again") from error
