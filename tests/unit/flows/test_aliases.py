"""Which versions the registry calls champion and previous."""

from __future__ import annotations

from deploy.release import Release
from deploy.stored import Endpoint
from flows.approvals import wanted_aliases

ONE, TWO = (Release("ships", number, "d" * 64) for number in ("1", "2"))


def test_production_says_who_is_champion():
    endpoints = [
        Endpoint("ships", stable=TWO, previous=ONE, champion=True),
        Endpoint("ships-staging", stable=ONE),
    ]
    assert wanted_aliases(endpoints, ["ships"]) == {"ships": {"champion": "2", "previous": "1"}}


def test_the_first_has_no_predecessor():
    found = wanted_aliases([Endpoint("ships", stable=ONE, champion=True)], ["ships"])
    assert found == {"ships": {"champion": "1", "previous": None}}


def test_a_model_whose_endpoint_is_gone_has_neither():
    assert wanted_aliases([], ["ships"]) == {"ships": {"champion": None, "previous": None}}
