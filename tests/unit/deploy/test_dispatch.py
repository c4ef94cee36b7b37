"""Each fleet runs on the target that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.dispatch import Dispatch
from deploy.errors import PlanRefused
from deploy.port import Capabilities, Fleet
from deploy.targets.memory import MemoryTarget

FLEET = Fleet("late", "v1", "a" * 64, Path("m.tar.gz"), 1)


def test_a_fleet_runs_where_it_says() -> None:
    first, second = MemoryTarget(), MemoryTarget()
    both = Dispatch({"local": first, "docker": second})
    elsewhere = replace(FLEET, variant="v2", target="docker")
    for fleet in (FLEET, elsewhere):
        both.start(fleet)
        assert both.ready(fleet).complete
    assert (list(first.fleets), list(second.fleets)) == ([FLEET.id], [elsewhere.id])
    both.stop(elsewhere)
    assert not second.fleets
    with pytest.raises(PlanRefused, match="docker, local"):
        both.start(replace(FLEET, target="moon"))


def test_it_can_do_what_all_can_do() -> None:
    less = MemoryTarget(capabilities=Capabilities(mirror=False, rolling=True, max_instances=3))
    got = Dispatch({"local": MemoryTarget(), "other": less}).capabilities
    assert (got.mirror, got.rolling, got.max_instances) == (False, True, 3)
