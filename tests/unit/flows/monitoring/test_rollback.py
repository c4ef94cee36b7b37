"""When an alarm may take an endpoint back."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deploy.plan import at_once
from deploy.release import Release, Request
from deploy.rollout import Phase, State
from deploy.stored import Endpoint, Rollout
from flows.monitoring.rollback import refusal, wish

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = Release("m", "1", "a" * 64), Release("m", "2", "b" * 64)
SERVING = Endpoint("prod", stable=NEW, previous=OLD, champion=True)


def rollout(name, release, phase):
    return Rollout(Request(name, "prod", release, at_once()), State(phase, 0, NOW, NOW))


PROMOTED = rollout("r", NEW, Phase.PROMOTED)


def test_the_version_that_serves_may_go():
    assert refusal(SERVING, None, [PROMOTED], "2") == ""
    assert refusal(SERVING, None, [rollout("s", OLD, Phase.ROLLED_BACK), PROMOTED], "2") == ""


@pytest.mark.parametrize(
    ("endpoint", "active", "rollouts", "version", "why"),
    [
        (None, None, [], "2", "serves nothing"),
        (replace(SERVING, removed=True), None, [PROMOTED], "2", "serves nothing"),
        (SERVING, rollout("x", OLD, Phase.BAKING), [PROMOTED], "2", "rollout x is running"),
        (SERVING, None, [PROMOTED], "1", "version 1 does not serve any more; version 2 does"),
        (replace(SERVING, previous=None), None, [PROMOTED], "2", "nothing before version 2"),
        (
            replace(SERVING, stable=OLD, previous=NEW),
            None,
            [rollout("monitor:prod:restore", OLD, Phase.PROMOTED), PROMOTED],
            "1",
            "itself restored, in the place of version 2",
        ),
    ],
)
def test_otherwise_it_says_why_not(endpoint, active, rollouts, version, why):
    assert why in refusal(endpoint, active, rollouts, version)


def test_the_same_action_makes_the_same_wish():
    first = wish("monitor:prod:drift:1:rollback", SERVING, "alarm drift", ("env:CHAT",))
    assert first == wish("monitor:prod:drift:1:rollback", SERVING, "alarm drift", ("env:CHAT",))
    assert first.restores
    assert (first.release, first.champion, first.notify) == (OLD, True, ("env:CHAT",))
    assert (
        len(wish(f"monitor:{'e' * 63}:{'a' * 63}:20260301T000000.000000:rollback", SERVING, "", ()).id) < 200
    )
