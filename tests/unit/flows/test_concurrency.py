"""The limits of a serverless endpoint change in the file that its activator reads."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from deploy.errors import RolloutRefused
from deploy.port import SERVERLESS
from deploy.release import Release
from flows.concurrency import Concurrency, change
from serving.serverless.changes import Changes
from serving.serverless.config import read

LIMITS = {"memory_size_in_mb": 1024, "max_concurrency": 4, "provisioned_concurrency": 1}


def wiring(home, *variables):
    stable = Release("late", "3", "a" * 64, 1, variables)
    endpoint = lambda name: SimpleNamespace(stable=stable) if name == "late" else None  # noqa: E731
    return SimpleNamespace(store=SimpleNamespace(endpoint=endpoint), settings=SimpleNamespace(home=home))


def test_what_is_changed_is_what_the_activator_reads(tmp_path):
    told = {SERVERLESS: json.dumps({**LIMITS, "changes": str(tmp_path / "serverless")})}
    place = wiring(tmp_path, *told.items())
    changes = Changes(read(told), {"SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": "v3"})
    for asked, wanted in (({"most": 9}, (9, 1)), ({"provisioned": 5}, (9, 5)), ({}, (9, 5))):
        assert change(place, "late", **asked) == Concurrency("v3", *wanted)
        found = changes.read()
        assert (found.max_concurrency, found.provisioned_concurrency) == wanted


@pytest.mark.parametrize(("name", "most"), [("late", 0), ("late", 201), ("nobody", 5)])
def test_what_cannot_be_is_refused_and_leaves_no_file(tmp_path, name, most):
    with pytest.raises(RolloutRefused):
        change(wiring(tmp_path, (SERVERLESS, json.dumps(LIMITS))), name, most)
    with pytest.raises(RolloutRefused, match="serves nothing serverless"):
        change(wiring(tmp_path), "late", 2)
    assert not list(tmp_path.iterdir())
