"""Processors that follow the memory, and limits of concurrency that change while the activator runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.environment import EnvironmentInvalid
from serving.serverless import VARIABLE
from serving.serverless.changes import Changes
from serving.serverless.config import Serverless, changed, read
from serving.serverless.processors import place, share, threads

LIMITS = Serverless(memory_size_in_mb=1024, max_concurrency=5, provisioned_concurrency=2)
NAMES = {"SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": "v3"}


@pytest.mark.parametrize(
    ("memory", "processors", "count"), [(1024, 0.58, 1), (2048, 1.16, 1), (4096, 2.32, 2), (6144, 3.47, 3)]
)
def test_the_share_follows_the_memory(memory: int, processors: float, count: int) -> None:
    assert share(memory) == pytest.approx(processors, abs=0.005)
    assert threads(share(memory)) == count


@given(st.floats(0.01, 600), st.sets(st.integers(0, 255), min_size=1, max_size=64), st.integers(0, 2**22))
def test_a_place_is_among_those_there_are(wanted: float, there: set[int], turn: int) -> None:
    found = place(wanted, there, turn)
    assert found.processors <= there
    assert min(wanted, len(there)) <= len(found.processors) < wanted + 1
    assert 0 <= found.nice <= 19
    assert (found.nice == 0) or wanted < 1


def test_successive_servers_get_different_processors() -> None:
    taken = [place(2.0, range(8), turn).processors for turn in range(4)]
    assert frozenset.union(*taken) == frozenset(range(8))
    assert place(0.5, {0}, 7).nice == 3


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"idle_seconds": 1}', '{"max_concurrency": 0}', '{"max_concurrency": 1}']
)
def test_limits_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(EnvironmentInvalid):
        changed(LIMITS, text.encode())


def test_the_limits_follow_the_file(tmp_path: Path) -> None:
    asked = replace(LIMITS, changes=str(tmp_path))
    assert Changes(asked, {}).file is None
    changes = Changes(asked, NAMES)
    file = tmp_path / "late.v3.json"
    assert (changes.file, changes.read()) == (file, asked)
    for content, wanted in (({"max_concurrency": 9}, (9, 2)), ({"provisioned_concurrency": 0}, (5, 0))):
        new = file.with_suffix(".new")
        new.write_text(json.dumps(content))
        new.replace(file)
        found = changes.read()
        assert (found.max_concurrency, found.provisioned_concurrency) == wanted
    file.write_text("{")
    assert changes.read() == found
    file.unlink()
    assert changes.read() == asked


def test_many_models_are_not_served_on_demand() -> None:
    environ = {VARIABLE: json.dumps({"memory_size_in_mb": 1024, "max_concurrency": 1})}
    with pytest.raises(EnvironmentInvalid, match="serves one model"):
        read({**environ, "SAGEMAKER_MULTI_MODEL": "true"})
