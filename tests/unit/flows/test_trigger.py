from __future__ import annotations

import json
import subprocess
import sys
from uuid import UUID

import httpx
import pytest

from flows.trigger import PrefectUnreachable, RunState, Trigger, TriggerRefused

RUN = UUID("00000000-0000-0000-0000-000000000001")


def trigger(answer, patience=30.0):
    """A trigger that talks to a function instead of a server."""
    made = Trigger("http://prefect/api/", patience=patience)
    made._client = httpx.Client(base_url="http://prefect/api", transport=httpx.MockTransport(answer))
    return made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("flows.trigger.PAUSES", (0.0,))


def test_a_busy_server_and_a_broken_connection_are_tried_again():
    answers = iter([httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(502)])
    state = {"state": {"type": "RUNNING", "name": "Running", "message": None}}

    def answer(request):
        match next(answers, None):
            case Exception() as error:
                raise error
            case None:
                return httpx.Response(200, json=state)
            case response:
                return response

    assert trigger(answer).state(RUN) == RunState("RUNNING", "Running", "")


def test_patience_ends():
    with pytest.raises(PrefectUnreachable, match=r"answers 503.*seaway status"):
        trigger(lambda request: httpx.Response(503), patience=0.0).state(RUN)


def test_creating_passes_everything_on():
    seen = []

    def answer(request):
        seen.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return httpx.Response(201, json={"id": str(RUN)})

    assert trigger(answer).create("build/build", {"a": 1}, "key", ["t"]) == RUN
    assert seen == [
        ("GET", "/api/deployments/name/build/build", None),
        (
            "POST",
            f"/api/deployments/{RUN}/create_flow_run",
            {"parameters": {"a": 1}, "idempotency_key": "key", "tags": ["t"], "state": {"type": "SCHEDULED"}},
        ),
    ]


def test_refusals_say_why():
    with pytest.raises(TriggerRefused, match=r"404 to GET /api/flow_runs/.*: Flow run not found"):
        trigger(lambda request: httpx.Response(404, json={"detail": "Flow run not found"})).state(RUN)
    rejected = httpx.Response(200, json={"status": "REJECT", "details": {"reason": "it does not wait"}})
    with pytest.raises(TriggerRefused, match="cannot be resumed: it does not wait"):
        trigger(lambda request: rejected).resume(RUN)


def test_the_address_for_people():
    assert (
        trigger(lambda request: httpx.Response(200)).flow_run_url(RUN)
        == f"http://prefect/runs/flow-run/{RUN}"
    )


@pytest.mark.slow
def test_prefect_is_not_imported():
    code = "import sys, flows.trigger; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
