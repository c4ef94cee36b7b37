from __future__ import annotations

import dataclasses

import pytest

from flows.registration import Deployment, fingerprint

DEPLOYMENT = Deployment("flows.build.build", tags=("a",))
SCHEMA = {"properties": {"model": {"type": "string"}}}


def test_the_same_description_has_the_same_fingerprint():
    assert fingerprint(DEPLOYMENT, "pool", SCHEMA) == fingerprint(
        Deployment("flows.build.build", tags=("a",)), "pool", dict(SCHEMA)
    )


@pytest.mark.parametrize(
    "change", [{"name": "x"}, {"tags": ()}, {"concurrency": 1}, {"description": "d"}, {"entrypoint": "a.b"}]
)
def test_every_change_shows(change):
    changed = dataclasses.replace(DEPLOYMENT, **change)
    assert fingerprint(changed, "pool", SCHEMA) != fingerprint(DEPLOYMENT, "pool", SCHEMA)


def test_pool_and_parameters_show():
    assert fingerprint(DEPLOYMENT, "other", SCHEMA) != fingerprint(DEPLOYMENT, "pool", SCHEMA)
    assert fingerprint(DEPLOYMENT, "pool", {}) != fingerprint(DEPLOYMENT, "pool", SCHEMA)
