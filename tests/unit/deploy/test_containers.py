"""What is decided about containers: arguments, states, reasons, pauses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import containers
from deploy.containers import Limits, Look, arguments, free_slot, look, looked_at
from deploy.errors import PlanRefused
from deploy.instances import UNSEEN, Instance, Record
from deploy.port import Fleet

FLEET = Fleet("late", "v2", "ab" * 32, Path("/a/m.tar.gz"), 2)


def asked(fleet: Fleet = FLEET, **options: Any) -> dict[str, Any]:
    given = {"image": "i:1", "package": Path("/p"), "limits": Limits(), "home": "h"}
    return arguments(fleet, 1, **{**given, **options})


def test_the_default_profile_has_no_privileges_at_all() -> None:
    got = asked()
    assert got["user"] == "10001:10001"
    assert got["read_only"]
    assert got["init"]
    assert got["cap_drop"] == ["ALL"]
    assert "cap_add" not in got
    assert got["security_opt"] == ["no-new-privileges:true"]
    assert got["ports"] == {"8080/tcp": ("127.0.0.1", None)}
    assert got["volumes"] == {"/p": {"bind": "/opt/ml/model", "mode": "ro"}}
    assert got["mem_limit"] == got["memswap_limit"] == 1 << 30
    assert "restart_policy" not in got
    assert got["healthcheck"] == {"test": ["NONE"]}


def test_root_has_four_capabilities_and_no_others() -> None:
    got = asked(replace(FLEET, profile="root-compat"))
    assert got["user"] == "0:0"
    assert got["cap_drop"] == ["ALL"]
    assert got["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]
    assert got["read_only"]
    writable = asked(replace(FLEET, profile="root-writable"))
    assert not writable["read_only"]
    assert (writable["user"], writable["cap_drop"], writable["cap_add"]) == (
        got["user"],
        got["cap_drop"],
        got["cap_add"],
    )
    with pytest.raises(PlanRefused, match="root-compat"):
        asked(replace(FLEET, profile="root"))


def test_a_fleet_says_what_it_needs_and_threads_follow_its_processors() -> None:
    got = asked(replace(FLEET, memory=5, cpus=2.0, environment=(("OMP_NUM_THREADS", "7"), ("A", "b"))))
    assert (got["mem_limit"], got["nano_cpus"]) == (5, 2_000_000_000)
    environment = got["environment"]
    assert environment["MODEL_SERVER_WORKERS"] == "2"
    assert (environment["OMP_NUM_THREADS"], environment["A"]) == ("7", "b")


def test_captures_get_a_folder_outside() -> None:
    captured = replace(FLEET, environment=(("SEAWAY_CAPTURE", json.dumps({"destination": "/c"})),))
    for folder in ("/c", "/c-outcomes"):
        assert asked(captured)["volumes"][folder] == {"bind": folder, "mode": "rw"}
    away = replace(FLEET, environment=(("SEAWAY_CAPTURE", json.dumps({"destination": "s3://buckets"})),))
    assert set(asked(away)["volumes"]) == {"/p"}


def test_any_change_changes_the_specification_and_nothing_else_does() -> None:
    def label(**changes: Any) -> str:
        return str(asked(replace(FLEET, **changes))["labels"][containers.SPECIFICATION])

    assert label() == label(instance_count=9)
    different = [
        label(),
        label(memory=7),
        label(cpus=0.5),
        label(environment=(("A", "b"),)),
        label(profile="root-compat"),
    ]
    assert len(set(different)) == len(different)


@given(st.sets(st.integers(1, 30)))
def test_a_free_slot_is_free_and_small(taken: set[int]) -> None:
    slot = free_slot(taken)
    assert slot not in taken
    assert all(smaller in taken for smaller in range(1, slot))


def inspected(**state: Any) -> dict[str, Any]:
    return {
        "Name": "/seaway-h-late.v2.abababababab.1",
        "Created": "2026-03-01T12:00:00.5Z",
        "State": {
            "Status": "running",
            "Pid": 77,
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-03-01T12:00:01.123456789Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
            **state,
        },
        "Config": {"Labels": {containers.SPECIFICATION: "s"}},
        "NetworkSettings": {"Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]}},
    }


def test_a_look_reads_what_the_engine_says() -> None:
    seen = look(inspected())
    assert (seen.name, seen.port, seen.pid) == ("seaway-h-late.v2.abababababab.1", 49153, 77)
    assert seen.started == pytest.approx(1772366401.123456789)
    assert seen.ended == 0
    assert (seen.up, seen.over, seen.specification) == (True, False, "s")
    refused = look(inspected(Status="created", Error="no such file", StartedAt="0001-01-01T00:00:00Z"))
    assert refused.over
    assert refused.ended == pytest.approx(1772366400.5)


def ended(**more: Any) -> Look:
    return Look("n", "exited", started=100.0, ended=101.0, **more)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (ended(exit_code=137, out_of_memory=True), "needs more than its 1024 MiB of memory"),
        (ended(exit_code=137), "ended by signal 9"),
        (ended(exit_code=3), "by itself with exit code 3"),
        (ended(exit_code=127), "no program `serve`"),
        (Look("n", "created", error="bad mount"), "could not start it: bad mount"),
    ],
)
def test_an_end_has_a_reason(seen: Look, words: str) -> None:
    instance = looked_at(Instance(port=5, slot=1, pid=UNSEEN), seen, Limits())
    assert instance.crashes == 1
    assert words in instance.ended
    assert looked_at(instance, seen, Limits()) == instance, "one end counts once"


def test_another_port_after_each_start_is_taken_over() -> None:
    running = Look("n", "running", pid=9, port=50_001)
    assert looked_at(Instance(port=50_000, slot=1), running, Limits()).port == 50_001


def test_pauses_grow_and_an_instance_that_was_steady_comes_back_at_once() -> None:
    assert not containers.revivable(Instance(slot=1, revivals=3), ended(), 108.0)
    assert containers.revivable(Instance(slot=1, revivals=3), ended(), 109.0)
    steady = Look("n", "exited", started=0.0, ended=containers.STEADY_SECONDS)
    assert containers.revivable(Instance(slot=1, revivals=10), steady, steady.ended)
    assert not containers.revivable(Instance(slot=1), Look("n", "running"), 1e9)


def test_only_one_that_never_answered_is_given_up() -> None:
    seen, limits = Look("n", "running", pid=1, started=0.0), Limits(cpus=0.5)
    assert not containers.overdue(Instance(slot=1), seen, limits, 960.0)
    assert containers.overdue(Instance(slot=1), seen, limits, 961.0)
    assert not containers.overdue(Instance(slot=1, answered=True), seen, limits, 1e6)
    gone = containers.given_up(Instance(slot=1, pid=1), limits)
    assert (gone.crashes, gone.pid) == (1, 0)
    assert "within 960 s" in gone.ended


def test_an_engine_that_restarted_is_nobodys_crash() -> None:
    record = Record(FLEET, (Instance(port=5, slot=1, pid=77),), supervisor=1).under(2, pid=0)
    after = looked_at(record.instances[0], ended(exit_code=137), Limits())
    assert after.crashes == 0
