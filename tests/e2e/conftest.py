"""One real platform for all tests of this folder, in a home of its own."""

from __future__ import annotations

from contextlib import suppress

import pytest

from deploy.errors import RolloutRefused
from flows.wiring import utc_now
from tests.e2e.harbour import Harbour
from tests.e2e.stack import Stack, until


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("seaway") / "home")
    try:
        stack.up()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def harbour(stack, tmp_path, request):
    """A project of the test's own; its endpoints go when the test is over."""
    model = request.node.originalname.removeprefix("test_").replace("_", "-")[:40].strip("-")
    harbour = Harbour(tmp_path / model, model).create()
    yield harbour
    store = stack.wiring.store
    for endpoint in (harbour.model, harbour.staging):
        store.abort(endpoint, "the test is over")
        until(lambda name=endpoint: store.active(name) is None, 60, f"the rollout on {endpoint} ends")
        with suppress(RolloutRefused):
            store.remove(endpoint, "the test is over", utc_now())
