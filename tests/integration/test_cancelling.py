"""Cancelling is noticed by a look at the server, when events no longer tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Running

from flows.cancelling import Once, look

pytestmark = pytest.mark.integration


class Server:
    """Answers what it is told to, one after the other."""

    def __init__(self, *answers: object) -> None:
        self.answers: Iterator[object] = iter(answers)

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return FlowRun(id=flow_run_id, flow_id=uuid4(), state=answer)


def test_a_server_that_comes_back_is_asked_again() -> None:
    run, cancelled = uuid4(), []
    away = [httpx.ConnectError("away"), httpx.ReadTimeout("slow")] * 20
    once = Once(cancelled.append)
    anyio.run(look, Server(Running(), *away, Running(), Cancelling()), run, once, 0)
    once(run)
    assert cancelled == [run], "once, whoever notices"


def test_a_run_that_is_gone_needs_no_look() -> None:
    cancelled: list[UUID] = []
    anyio.run(look, Server(ObjectNotFound(httpx.HTTPError("404"))), uuid4(), cancelled.append, 0)
    assert cancelled == []
