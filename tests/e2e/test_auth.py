"""Several people with passwords: who may approve does, who may not is told so, and the ledger knows the name."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from deploy.rollout import Phase
from registry.entry import Kind
from tests.e2e.harbour import Harbour
from tests.e2e.stack import Stack, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

MODEL = "with-names"
PEOPLE = ("ann", "alice", "bob", "mallory")
POLICY = {"approvers": ["alice", "bob"], "persons": 2, "self_approval": False, "allow_unauthenticated": False}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("auth") / "home", auth=True)
    try:
        stack.up()
        yield stack
    finally:
        stack.close()


def seaway(stack, *words, line=""):
    return subprocess.run(
        [sys.executable, "-m", "seaway.cli", *words],
        env={**os.environ, "SEAWAY_HOME": str(stack.home), "COLUMNS": "150"},
        input=line,
        capture_output=True,
        text=True,
        check=False,
    )


def password(name):
    return f"{name}-has-a-long-password"


def set_tag(stack, version, value, name=None, secret=None):
    """What MLflow's page sends when this person sets the status tag."""
    body = {"name": version.model, "version": version.version, "key": "approval_status", "value": value}
    address = f"{stack.wiring.settings.url('mlflow')}/ajax-api/2.0/mlflow/model-versions/set-tag"
    login = (name, secret or password(name)) if name else None
    return httpx.post(address, json=body, auth=login, timeout=20, trust_env=False)


def test_people_approve_under_their_own_names(guarded, tmp_path):
    for name in PEOPLE:
        words = ["users", "add", name, "--password-stdin"] + ["--model", MODEL] * (name != "mallory")
        made = seaway(guarded, *words, line=password(name) + "\n")
        assert made.returncode == 0, made.stderr
    listed = {user["name"]: user for user in json.loads(seaway(guarded, "users", "list", "--json").stdout)}
    assert set(listed) == {*PEOPLE, "seaway"}
    assert (listed["alice"]["models"], listed["mallory"]["models"]) == ([MODEL], [])

    harbour = Harbour(tmp_path / MODEL, MODEL).create()
    version, _ = guarded.build(harbour.write("v1", policy=POLICY))

    assert set_tag(guarded, version, "Approved").status_code == 401
    assert set_tag(guarded, version, "Approved", "alice", "a guess of some length").status_code == 401
    assert set_tag(guarded, version, "Approved", "mallory").status_code == 403
    own = set_tag(guarded, version, "Approved", "ann")
    assert own.status_code == 403
    assert "ann" in own.json()["message"]
    assert guarded.wiring.desk.gestures.list(MODEL) == []

    assert set_tag(guarded, version, "Approved", "alice").status_code == 200
    guarded.heard(version)
    until(
        lambda: guarded.version(version).tags["approval_status"] == "PendingManualApproval",
        20,
        "the tag is set back: one vote is not enough",
    )
    assert "alice" in guarded.version(version).tags["approval_note"]
    assert guarded.standing(version).approval is None

    assert set_tag(guarded, version, "Approved", "bob").status_code == 200
    approval = guarded.approval(version)
    assert (approval.actor, approval.source) == ("bob", "registry-ui")
    rollout = guarded.decided(approval)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    assert [one.actor for one in guarded.entries(version, Kind.VOTE, Kind.APPROVED)] == ["alice", "bob"]
    assert guarded.version(version).tags["approved_by"] == "bob"
    assert guarded.wiring.desk.ledger.verify() >= 3


def test_users_are_told_what_is_wrong(guarded):
    again = seaway(guarded, "users", "add", "zoe", "--password-stdin", line=password("zoe") + "\n")
    assert again.returncode == 0, again.stderr
    again = seaway(guarded, "users", "add", "zoe", "--password-stdin", line=password("zoe") + "\n")
    short = seaway(guarded, "users", "add", "eve", "--password-stdin", line="short\n")
    nobody = seaway(guarded, "users", "allow", "nobody", MODEL)
    for refused, word in ((again, "zoe"), (short, "12 characters"), (nobody, "nobody")):
        assert (refused.returncode, refused.stdout) == (1, "")
        assert word in " ".join(refused.stderr.split())
        assert "Traceback" not in refused.stderr
