"""Fixtures that several integration tests share."""

import pytest


@pytest.fixture(scope="session")
def watched_package(tmp_path_factory):
    """A package with its baseline; see `tests.watched`."""
    from tests.watched import packed

    return packed(tmp_path_factory.mktemp("package"))
