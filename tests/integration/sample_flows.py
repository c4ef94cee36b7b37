"""Flows that the worker's tests run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.flow_runs import suspend_flow_run

from flows.registration import Deployment


def crashed(flow, flow_run, state):
    Path(flow_run.parameters["file"]).with_suffix(".crashed").write_text(state.message or "")


def cancelled(flow, flow_run, state):
    Path(flow_run.parameters["file"]).with_suffix(".cancelled").write_text(state.name)


@flow
def stamp(file: str) -> None:
    Path(file).write_text(str(time.time()))
    get_run_logger().info("stamped %s", file)


@flow(on_crashed=[crashed])
def suicide(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


@flow(on_cancellation=[cancelled], on_crashed=[crashed])
def endless(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


@flow
def gate(file: str) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    suspend_flow_run(timeout=300)
    Path(file).with_suffix(".resumed").write_text(str(os.getpid()))


DEPLOYMENTS = tuple(
    Deployment(f"tests.integration.sample_flows.{name}") for name in ("stamp", "suicide", "endless", "gate")
)
