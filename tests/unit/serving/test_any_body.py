"""Whatever is sent, the answer is an answer or the caller's mistake: never 500, never a hang."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.app import Application, Limits
from serving.manifest import Task
from serving.model import ModelResponder
from tests.fakes import bodies
from tests.fakes.model import MeanPredictor

LIMIT = 4000
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
APPLICATIONS = {
    task: Application(ModelResponder(MeanPredictor(task), limit=LIMIT), Limits(LIMIT)) for task in TASKS
}
BOUND = timedelta(seconds=1)


def check(call: bodies.Call, accept: str, task: Task) -> int:
    headers = {"content-type": call.content_type, "accept": accept}
    if call.header is not None:
        headers["inference-header-content-length"] = str(call.header)
    began = time.thread_time()
    answer = APPLICATIONS[task].answer("POST", call.path, headers, call.body)
    assert time.thread_time() - began < BOUND.total_seconds()
    assert answer.status < 500, answer.body
    assert answer.body
    return answer.status


@pytest.mark.parametrize("number", range(len(bodies.valid())))
@pytest.mark.parametrize("task", TASKS)
def test_valid_bodies_are_answered(number: int, task: Task) -> None:
    for accept in bodies.ACCEPTS[:-1]:
        assert check(bodies.valid()[number], accept, task) == 200


@settings(max_examples=150, deadline=None)
@given(bodies.anything(), st.sampled_from(bodies.ACCEPTS))
def test_any_bytes(call: bodies.Call, accept: str) -> None:
    check(call, accept, "binary")


@settings(max_examples=300, deadline=None)
@given(bodies.spoilt(), st.sampled_from(bodies.ACCEPTS), st.sampled_from(TASKS))
def test_spoilt_bodies(call: bodies.Call, accept: str, task: Task) -> None:
    check(call, accept, task)
