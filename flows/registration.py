"""Deployments: which flows the worker offers, and telling the Prefect server about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.flows import Flow


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow that can be triggered by name."""

    entrypoint: str
    """Module path of the flow, for example `flows.build.build`."""
    name: str = ""
    """Second half of `flow/deployment`; the flow's own name when empty."""
    description: str = ""
    """Markdown, shown in the Prefect UI."""
    tags: tuple[str, ...] = ()
    """Shown on every run."""
    concurrency: int | None = None
    """Most runs at a time; the others wait."""


def load(deployment: Deployment) -> Flow[..., Any]:
    """Import the flow.

    Raises:
        prefect.exceptions.MissingFlowError: the entrypoint names no flow.
    """
    from prefect.flows import load_flow_from_entrypoint

    return load_flow_from_entrypoint(deployment.entrypoint, use_placeholder_flow=False)


def fingerprint(deployment: Deployment, pool: str, schema: dict[str, Any]) -> str:
    """Changes when anything that the server stores about the deployment changes."""
    described = json.dumps([asdict(deployment), pool, schema], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


async def register(deployments: Iterable[Deployment], pool: str) -> list[str]:
    """Bring the server's deployments up to date; returns the full names of those that changed.

    The fingerprint is kept as the deployment's version, so that unchanged ones cost one read.
    """
    names = [await _register(deployment, pool) for deployment in deployments]
    return [name for name in names if name]


async def ensure_pool(pool: str, kind: str, template: dict[str, Any]) -> None:
    """Create the work pool unless it exists."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    async with get_client() as client:
        try:
            await client.read_work_pool(pool)
        except ObjectNotFound:
            try:
                await client.create_work_pool(
                    WorkPoolCreate(name=pool, type=kind, base_job_template=template)
                )
            except ObjectAlreadyExists:
                return


async def _register(deployment: Deployment, pool: str) -> str | None:
    from prefect.client.orchestration import get_client
    from prefect.deployments.runner import RunnerDeployment
    from prefect.exceptions import ObjectNotFound
    from prefect.types.entrypoint import EntrypointType

    flow = load(deployment)
    name = deployment.name or flow.name
    version = fingerprint(deployment, pool, flow.parameters.model_dump())
    async with get_client() as client:
        try:
            if (await client.read_deployment_by_name(f"{flow.name}/{name}")).version == version:
                return None
        except ObjectNotFound:
            pass
    runner_deployment = RunnerDeployment.from_flow(
        flow,
        name=name,
        description=deployment.description or None,
        tags=list(deployment.tags),
        version=version,
        work_pool_name=pool,
        concurrency_limit=deployment.concurrency,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    await runner_deployment.aapply()
    return runner_deployment.full_name
