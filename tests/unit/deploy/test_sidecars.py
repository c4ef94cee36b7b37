"""What is decided about sidecars: what they are told, and how two containers are one instance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy import sidecars
from deploy.containers import SIDECAR, SPECIFICATION, Limits, Look
from deploy.port import Fleet

FLEET = Fleet("late", "v2", "ab" * 32, Path("/a/m.tar.gz"), 2, image="own/model:1")


def capturing(**settings: Any) -> Fleet:
    told = (("SEAWAY_CAPTURE", json.dumps({"destination": "/c", **settings})), ("COLOUR", "blue"))
    return replace(FLEET, environment=told)


def pair(fleet: Fleet) -> tuple[dict[str, Any], dict[str, Any]]:
    equipped = sidecars.equipped(fleet, {"KEY": "k", "AWS_REGION": "eu-west-1", "HOME": "/h"}, Path("/s"))
    beside = replace(equipped, image="ours:1")
    return sidecars.pair(fleet, 1, equipped=beside, package=Path("/p"), limits=Limits(), home="h")


def test_the_sidecar_is_published_and_the_container_is_behind_it() -> None:
    front, behind = pair(replace(capturing(), profile="root-compat"))
    assert (front["image"], behind["image"]) == ("ours:1", "own/model:1")
    assert front["name"] == behind["name"] + SIDECAR
    assert front["ports"] == {"18080/tcp": ("127.0.0.1", None)}
    assert behind["network_mode"] == f"container:{front['name']}"
    assert "ports" not in behind
    assert "http://127.0.0.1:8080" in front["command"]
    assert (front["user"], behind["user"]) == ("10001:10001", "0:0"), "only the container may be root"


def test_only_the_sidecar_is_told_of_captures() -> None:
    front, behind = pair(capturing(key_variable="KEY"))
    assert front["environment"]["KEY"] == "k"
    assert "COLOUR" not in front["environment"]
    assert behind["environment"]["COLOUR"] == "blue"
    assert not {"SEAWAY_CAPTURE", "KEY"} & set(behind["environment"])
    assert "/c" in front["volumes"]
    assert "/c" not in behind["volumes"]


def test_captures_to_s3_get_a_login_and_a_folder_that_outlives_containers() -> None:
    front, behind = pair(capturing(destination="s3://bucket/c"))
    assert json.loads(front["environment"]["SEAWAY_CAPTURE"])["spool"] == "/s"
    assert front["volumes"]["/s"] == {"bind": "/s", "mode": "rw"}
    assert front["environment"]["AWS_REGION"] == "eu-west-1"
    assert "AWS_REGION" not in behind["environment"]
    assert sidecars.extras(capturing(destination="s3://bucket/c", key_variable="KEY")) == ("s3", "encryption")
    assert sidecars.extras(FLEET) == ()
    assert sidecars.equipped(FLEET, {"AWS_REGION": "x"}, Path("/s")) == FLEET


def test_a_container_of_which_nothing_is_captured_has_a_sidecar_too() -> None:
    front, behind = pair(replace(FLEET, environment=(("SAGEMAKER_MODEL_SERVER_TIMEOUT", "20"),)))
    assert front["environment"]["SAGEMAKER_MODEL_SERVER_TIMEOUT"] == "20"
    assert "SEAWAY_CAPTURE" not in front["environment"]
    assert behind["network_mode"] == f"container:{front['name']}"


def look(**more: Any) -> Look:
    return Look(**{"name": "i", "status": "running", "pid": 7, "specification": "b", **more})


def test_two_containers_are_one_instance() -> None:
    front = look(name="i" + SIDECAR, pid=9, port=50_000, specification="a")
    both = sidecars.together(look(), front)
    assert both
    assert (both.pid, both.port, both.up, both.specification) == (7, 50_000, True, "a+b")
    asked = ({"labels": {SPECIFICATION: "a"}}, {"labels": {SPECIFICATION: "b"}})
    assert both.specification == sidecars.specified(asked)
    assert sidecars.together(look(), None) == look()
    assert sidecars.together(None, None) is None


def test_it_has_ended_when_one_has_and_the_first_end_is_the_reason() -> None:
    front = look(name="i" + SIDECAR, port=50_000, specification="a")
    ended = sidecars.together(look(status="exited", exit_code=3, ended=5.0), front)
    assert ended
    assert (ended.over, ended.exit_code, ended.sidecar) == (True, 3, False)
    gone = replace(front, status="exited", exit_code=137, ended=4.0)
    ended = sidecars.together(look(status="exited", exit_code=3, ended=5.0), gone)
    assert ended
    assert (ended.sidecar, ended.exit_code) == (True, 137)
    waiting = sidecars.together(look(), replace(front, status="created"))
    assert waiting
    assert not waiting.up
    assert not waiting.over
