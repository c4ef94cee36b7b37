from __future__ import annotations

import pytest

from registry.reconcile import Reconciler
from tests.unit.registry.world import World


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def reconciler(world) -> Reconciler:
    return Reconciler(world.desk, world.trigger)
