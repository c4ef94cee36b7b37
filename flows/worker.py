"""The Prefect worker of the platform: `python -m flows.worker`.

It behaves like Prefect's process worker, with one difference: a run is a fork of a process that has imported
Prefect and the flows already (`flows/zygote.py`), so its body starts seconds earlier. States, hooks,
cancellation and crash reports are the work of Prefect's own executor.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import runpy
import signal
import socket
import sys
import tempfile
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotFound
from prefect.flows import load_flow_from_flow_run
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult

from flows.cancelling import Once, look
from flows.registration import Deployment, ensure_pool, load, register
from flows.zygote import GRACE_SECONDS, Job, Nursery, start

POOL = "seaway"
"""Name of the work pool, unless `SEAWAY_WORK_POOL` says otherwise."""
CATALOG = "flows.catalog"
"""Module that lists the deployments, unless `SEAWAY_CATALOG` says otherwise."""

log = logging.getLogger("prefect.seaway.worker")


class ZygoteStarter:
    """Starts a flow run as a fork; Prefect's `ProcessStarter` protocol."""

    def __init__(
        self, nursery: Nursery, directory: Path, environment: dict[str, str], channel: ControlChannel
    ) -> None:
        self._nursery = nursery
        self._directory = directory
        self._environment = environment
        self._channel = channel

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Fork, hand out the handle, and return when the run has ended."""
        environment = {
            **self._environment,
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
        }
        with suppress(RuntimeError):  # the channel could not listen: cancelling then kills without asking
            port, token = self._channel.register(flow_run.id)
            environment |= {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        try:
            run = await self._nursery.spawn(Job((str(flow_run.id),), environment, str(self._directory)))
        except BaseException:
            self._channel.unregister(flow_run.id)
            raise
        scope = create_isolated_termination_scope(run.pid)
        task_status.started(ProcessHandle(run, termination_scope=scope))  # type: ignore[arg-type]
        await run.wait()


class WarmWorker(BaseWorker[ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult]):
    """Runs flow runs as forks of a warm process."""

    type = "warm-process"
    job_configuration = ProcessJobConfiguration
    job_configuration_variables = ProcessVariables
    _description = "Executes flow runs in processes forked from one that has imported Prefect already."
    _display_name = "Warm process"

    def __init__(self, nursery: Nursery, **settings: Any) -> None:
        super().__init__(**settings)
        self._nursery = nursery
        self._closing = False
        self._ready_file = os.environ.get("SEAWAY_READY_FILE", "")

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run to its end in a forked process."""
        folder = configuration.working_dir
        environment = {name: value for name, value in configuration.env.items() if value is not None}
        with (
            nullcontext(str(folder)) if folder else tempfile.TemporaryDirectory(prefix="seaway-run-") as place
        ):
            async with FlowRunExecutorContext() as context:
                starter = ZygoteStarter(self._nursery, Path(place), environment, context.control_channel)
                executor = context.create_executor(
                    flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
                )
                observer = context._observer  # noqa: SLF001 - Prefect gives no other way to it
                observer.on_cancelling = Once(observer.on_cancelling)
                outcome = None

                async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle]) -> None:
                    nonlocal outcome
                    outcome = await executor.submit(task_status=task_status)
                    group.cancel_scope.cancel()

                async with anyio.create_task_group() as group:
                    handle = await group.start(execute)
                    group.start_soon(look, context.client, flow_run.id, observer.on_cancelling)
                    if task_status and handle.pid:
                        task_status.started(handle.pid)
        if outcome is None or outcome.status_code is None:
            raise RuntimeError("the flow run's process could not be started; see the worker's log")
        return ProcessWorkerResult(status_code=outcome.status_code, identifier=str(outcome.handle.pid))

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: ProcessJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the process group of a run: politely, then after `grace_seconds` by force."""
        del configuration
        run = self._nursery.runs.get(int(infrastructure_pid))
        if run is None:
            raise InfrastructureNotFound(f"no flow run of this worker has process {infrastructure_pid}")
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGTERM)
        with anyio.move_on_after(grace_seconds):
            await run.wait()
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """One poll. A server that does not answer is waited for: giving up would kill running flows."""
        if self._closing:
            return []
        try:
            submitted = await super().get_and_submit_flow_runs()
        except httpx.HTTPError as error:
            return self._waiting(error)
        self._tell_ready()
        return submitted

    async def _sync_and_initialize(self) -> None:
        try:
            await super()._sync_and_initialize()
        except httpx.HTTPError as error:
            self._waiting(error)

    def _tell_ready(self) -> None:
        """After the first poll, write the zygote's process id, which is the one the supervisor knows."""
        file, self._ready_file = self._ready_file, ""
        if file and self._has_successfully_synced:
            Path(file).write_text(f"{os.getppid()}\n")
        else:
            self._ready_file = file

    def _waiting(self, error: httpx.HTTPError) -> list[FlowRun]:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
            raise error
        self._logger.warning("the Prefect server does not answer (%s); asking again", error or type(error))
        return []

    def pause(self) -> None:
        """Take no more runs; those in progress go on."""
        self._closing = True
        log.warning("no more flow runs are taken")

    async def close(self) -> None:
        """Take no more runs and ask those in progress to end; they report themselves as crashed."""
        self._closing = True
        runs = list(self._nursery.runs.values())
        for run in runs:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGTERM)
        with anyio.move_on_after(GRACE_SECONDS):
            for run in runs:
                await run.wait()
            while self._submitting_flow_run_ids:  # noqa: ASYNC110 - the base class offers no event
                await anyio.sleep(0.05)


async def work(connection: socket.socket, deployments: tuple[Deployment, ...], pool: str) -> None:
    """Register, clear up after a predecessor, then serve the pool until SIGTERM."""
    template = WarmWorker.get_default_base_job_template()
    async with Nursery(connection) as nursery:
        await _server_ready()
        await ensure_pool(pool, WarmWorker.type, template)
        await register(deployments, pool)
        async with get_client() as client:
            await crash_orphans(client, pool)
        worker = WarmWorker(nursery, work_pool_name=pool, name=f"warm-{os.uname().nodename}")
        serving = asyncio.create_task(worker.start(printer=log.info))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, worker.pause)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: closing.append(loop.create_task(_close(worker, serving))))
        closing: list[asyncio.Task[None]] = []
        with suppress(asyncio.CancelledError):
            await serving


async def crash_orphans(client: PrefectClient, pool: str) -> list[UUID]:
    """Set to Crashed what a killed worker left behind as running, and the subflows of those runs.

    Call it before the worker polls: at that moment nothing of this pool can be alive.
    """
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter, WorkPoolFilterName
    from prefect.client.schemas.objects import State
    from prefect.runner._hook_runner import HookRunner
    from prefect.states import Crashed

    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    unfinished: Any = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
    orphans = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=unfinished), work_pool_filter=of_pool
    )
    hooks = HookRunner(resolve_flow=load_flow_from_flow_run)
    ended: list[UUID] = []
    while orphans:
        for orphan in orphans:
            state: State[Any] = Crashed(
                message="The worker that ran this was killed; start the run again if it is still wanted."
            )
            await client.set_flow_run_state(orphan.id, state, force=True)
            log.warning("flow run %s was left behind by a killed worker; it is now Crashed", orphan.name)
            if orphan.deployment_id:
                await hooks.run_crashed_hooks(orphan, state)
        parents: Any = {"any_": [orphan.id for orphan in orphans]}
        ended += parents["any_"]
        orphans = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=unfinished, parent_flow_run_id=parents)
        )
    return ended


def execute(job: Job) -> None:
    """In a forked child: become the process that `python -m prefect.engine` would be."""
    os.environ.clear()
    os.environ.update(job.environment)
    os.chdir(job.directory)
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.argv = ["prefect.engine", *job.argv]
    sys.modules.pop("prefect.engine", None)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def main() -> None:
    """Import everything, then split into zygote, worker and runs."""
    warnings.simplefilter("ignore", DeprecationWarning)
    catalog = importlib.import_module(os.environ.get("SEAWAY_CATALOG", CATALOG))
    deployments: tuple[Deployment, ...] = tuple(catalog.DEPLOYMENTS)
    pool = os.environ.get("SEAWAY_WORK_POOL", POOL)
    for deployment in deployments:
        load(deployment)
    for module in ("prefect.engine", "prefect._internal.metrics", "prefect.events.clients"):
        importlib.import_module(module)
    start(lambda connection: asyncio.run(work(connection, deployments, pool)), execute)


async def _close(worker: WarmWorker, serving: asyncio.Task[None]) -> None:
    await worker.close()
    serving.cancel()


async def _server_ready() -> None:
    async with get_client() as client:
        while await client.api_healthcheck() is not None:  # noqa: ASYNC110 - a remote condition
            await anyio.sleep(0.25)


if __name__ == "__main__":
    main()
