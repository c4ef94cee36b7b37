"""Starting and watching flow runs over Prefect's REST API, without importing Prefect.

The controller and the command line use this; it costs milliseconds where `import prefect` costs seconds.
On SQLite the server answers 503 in bursts, and it may be restarting: every call is repeated until `patience`
runs out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
"""State types that never change again by themselves."""
ACTIVE = ("PENDING", "RUNNING", "CANCELLING")
"""State types in which a worker is busy with the run."""
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between tries; the last one repeats."""


class TriggerError(Exception):
    """Root of the errors of this module."""


class PrefectUnreachable(TriggerError):
    """The Prefect server did not answer in time; another try may succeed."""


class TriggerRefused(TriggerError):
    """The Prefect server refused; the message says why."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a flow run."""

    type: str
    """SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING, COMPLETED, FAILED, CANCELLED or CRASHED."""
    name: str
    """The finer name that the UI shows, for example `Suspended` or `Late`."""
    message: str

    @property
    def final(self) -> bool:
        """The run has ended."""
        return self.type in FINAL


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a flow run logged."""

    id: str
    at: datetime
    level: int
    """Python's numbers: 20 is INFO."""
    message: str


class Trigger:
    """A client of one Prefect server; use as a context manager, or call `close`.

    Args:
        api_url: for example `http://127.0.0.1:4200/api`.
        auth: user and password, when the server asks for them.
        patience: seconds that a call goes on trying while the server is busy or away.
    """

    def __init__(self, api_url: str, auth: tuple[str, str] | None = None, patience: float = 30.0) -> None:
        self._api_url = api_url.rstrip("/")
        self._client = httpx.Client(base_url=self._api_url, auth=auth, timeout=10.0, trust_env=False)
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def create(
        self, deployment: str, parameters: Mapping[str, Any], idempotency_key: str, tags: Iterable[str] = ()
    ) -> UUID:
        """Start a run of `flow/deployment`. The same key always gives the same run, also after it has ended.

        Raises:
            TriggerRefused: there is no such deployment, or the parameters do not fit.
        """
        found = self._ask("GET", f"/deployments/name/{deployment}")
        body = {
            "parameters": dict(parameters),
            "idempotency_key": idempotency_key,
            "tags": list(tags),
            "state": {"type": "SCHEDULED"},
        }
        return UUID(self._ask("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def state(self, flow_run_id: UUID) -> RunState:
        """Where the run stands.

        Raises:
            TriggerRefused: there is no such run.
        """
        state = self._ask("GET", f"/flow_runs/{flow_run_id}")["state"] or {}
        return RunState(state.get("type", "SCHEDULED"), state.get("name", ""), state.get("message") or "")

    def logs(self, flow_run_id: UUID, after: LogLine | None = None, limit: int = 200) -> list[LogLine]:
        """Lines in the order of their time; pass the last line you have to get those that follow."""
        seen: dict[str, Any] = {"flow_run_id": {"any_": [str(flow_run_id)]}}
        if after:
            seen["timestamp"] = {"after_": after.at.isoformat()}
        body = {"logs": seen, "sort": "TIMESTAMP_ASC", "limit": limit}
        lines = [_line(found) for found in self._ask("POST", "/logs/filter", body)]
        return [line for line in lines if after is None or (line.at, line.id) > (after.at, after.id)]

    def resume(self, flow_run_id: UUID, run_input: Mapping[str, Any] | None = None) -> None:
        """Let a suspended run go on.

        Raises:
            TriggerRefused: it does not wait, or the input does not fit. Prefect answers 200 to both.
        """
        answer = self._ask("POST", f"/flow_runs/{flow_run_id}/resume", {"run_input": run_input})
        self._accepted(answer, f"flow run {flow_run_id} cannot be resumed")

    def cancel(self, flow_run_id: UUID) -> None:
        """Ask for the run's end; its cancellation hooks run. A run that has ended stays as it is."""
        state = self.state(flow_run_id)
        if state.final or state.type == "CANCELLING":
            return
        kind = "CANCELLING" if state.type in ACTIVE else "CANCELLED"
        body = {"state": {"type": kind, "name": kind.capitalize()}, "force": False}
        answer = self._ask("POST", f"/flow_runs/{flow_run_id}/set_state", body)
        if not self.state(flow_run_id).final:
            self._accepted(answer, f"flow run {flow_run_id} cannot be cancelled")

    def active(self, pool: str, without: str = "") -> list[UUID]:
        """Runs that a worker of the pool is busy with, except those that carry the tag `without`."""
        body = {
            "flow_runs": {"state": {"type": {"any_": list(ACTIVE)}}},
            "work_pools": {"name": {"any_": [pool]}},
            "limit": 200,
        }
        found = self._ask("POST", "/flow_runs/filter", body)
        return [UUID(run["id"]) for run in found if without not in run["tags"]]

    def flow_run_url(self, flow_run_id: UUID) -> str:
        """Where people look at the run."""
        return f"{self._api_url.removesuffix('/api')}/runs/flow-run/{flow_run_id}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        deadline = time.monotonic() + self._patience
        pauses = iter(PAUSES)
        while True:
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code not in {502, 503, 504}:
                    return _content(answer)
                trouble = f"it answers {answer.status_code}"
            if time.monotonic() >= deadline:
                raise PrefectUnreachable(
                    f"the Prefect server at {self._api_url} is not available ({trouble}); try `seaway status`"
                )
            time.sleep(next(pauses, PAUSES[-1]))

    def _accepted(self, answer: Any, refusal: str) -> None:
        if answer.get("status") != "ACCEPT":
            reason = (answer.get("details") or {}).get("reason") or answer.get("status")
            raise TriggerRefused(f"{refusal}: {reason}")


def _content(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    request = answer.request
    raise TriggerRefused(
        f"Prefect answers {answer.status_code} to {request.method} {request.url.path}: {detail}"
    )


def _line(found: Mapping[str, Any]) -> LogLine:
    return LogLine(found["id"], datetime.fromisoformat(found["timestamp"]), found["level"], found["message"])
