"""Fixtures of every suite, and how hard property tests try: `quick` while working, `thorough` in `make test`."""

import gc
import os

import pytest
from hypothesis import settings

pytest_plugins = ("tests.docker_engine", "tests.local_target", "tests.postgres", "tests.small_project")

settings.register_profile("quick", max_examples=6, deadline=None)
settings.register_profile("thorough", max_examples=20, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_finish() -> None:
    """What was imported stays: a collection that a test asks for need not look through it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side run files, not tests: fixtures of a file stand once.

    What mostly waits begins first, so that the others have ended when it has.
    """
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
