"""Strategies are data and add up; impossible ones are refused with every reason."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.load import dump, load
from configs.project import Project
from configs.rollout import Rollout
from deploy.errors import PlanRefused
from deploy.plan import Step, check_serving, check_update, plan, steps
from deploy.port import Capabilities

ALL = Capabilities(mirror=True, rolling=True)
MINUTE = timedelta(minutes=1)
FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "project.yaml"
SERVERLESS = {"memory_size_in_mb": 1024, "max_concurrency": 4}
ROLLING = {"strategy": [{"type": "rolling", "batch": "50%", "bake": "1m"}]}


def rollout(*strategy, **more):
    return Rollout.model_validate({"strategy": strategy, "termination_wait": "30s", **more}, strict=False)


def weights(found):
    return [step.weight for step in found.steps]


def test_canary_ends_at_one_hundred_with_the_final_bake():
    found = plan(rollout({"type": "canary", "weights": ["10%", "50%"], "bake": "1m"}), ALL)
    assert found.steps == (
        Step(10, bake=MINUTE),
        Step(50, bake=MINUTE),
        Step(100, bake=timedelta(seconds=30)),
    )
    assert found.promotes


def test_linear_steps():
    assert weights(plan(rollout({"type": "linear", "step": "30%", "bake": "1m"}), ALL)) == [30, 60, 90, 100]


def test_all_at_once_bakes_at_full_weight():
    found = plan(rollout({"type": "all_at_once", "bake": "1m"}), ALL)
    assert found.steps == (Step(100, bake=timedelta(seconds=90)),)


def test_rolling_moves_instances_with_the_weight():
    found = plan(rollout({"type": "rolling", "batch": "50%", "bake": "1m"}), ALL, instance_count=2)
    assert weights(found) == [50, 100]
    assert all(step.batched for step in found.steps)


def test_a_shadow_alone_does_not_promote():
    found = plan(rollout({"type": "shadow", "bake": "1m"}), ALL)
    assert found.steps == (Step(0, mirror=100, bake=MINUTE),)
    assert not found.promotes


def test_strategies_add():
    both = rollout(
        {"type": "shadow", "share": "50%", "bake": "1m"},
        {"type": "canary", "weights": ["10%"], "bake": "1m"},
    )
    assert [(s.weight, s.mirror) for s in plan(both, ALL).steps] == [(0, 50), (10, 0), (100, 0)]


def test_probation_keeps_the_previous_version_as_control_before_the_last_step():
    watched = rollout(
        {"type": "canary", "weights": ["10%"], "bake": "1m"}, probation={"duration": "1h", "control": "5%"}
    )
    assert weights(plan(watched, ALL)) == [10, 95, 100]
    assert plan(watched, ALL).steps[1].bake == timedelta(hours=1)


@pytest.mark.parametrize(
    ("strategy", "capabilities", "instances", "words"),
    [
        ([{"type": "shadow", "bake": "1m"}], Capabilities(mirror=False, rolling=True), 1, "shadow"),
        (
            [{"type": "rolling", "batch": "50%", "bake": "1m"}],
            Capabilities(mirror=True, rolling=False),
            2,
            "batches",
        ),
        ([{"type": "rolling", "batch": "50%", "bake": "1m"}], ALL, 1, "at least 2"),
        ([{"type": "canary", "weights": ["50%", "10%"], "bake": "1m"}], ALL, 1, "must not fall"),
        ([{"type": "canary", "weights": ["0%"], "bake": "1m"}], ALL, 1, "shadow"),
        ([{"type": "canary", "weights": ["10%"], "bake": "3h"}], ALL, 1, "maximum_execution_timeout"),
        ([{"type": "all_at_once"}, {"type": "all_at_once"}], ALL, 1, "only once"),
        ([{"type": "canary", "weights": ["10%"], "bake": "1m"}], ALL, 99, "64"),
        (
            [{"type": "canary", "weights": ["10%"], "bake": "1m"}],
            Capabilities(mirror=True, rolling=True, weights=False),
            1,
            "all_at_once",
        ),
    ],
)
def test_refuses_what_cannot_be(strategy, capabilities, instances, words):
    with pytest.raises(PlanRefused, match=words):
        plan(rollout(*strategy), capabilities, instances)


@pytest.mark.parametrize(
    "impossible",
    [{"type": "linear", "step": "0%", "bake": "1m"}, {"type": "rolling", "batch": "80%", "bake": "1m"}],
)
def test_sizes_that_cannot_be_fail_at_load(impossible):
    with pytest.raises(ValidationError):
        rollout(impossible)


def test_steps_without_final_bake():
    assert steps(rollout({"type": "all_at_once"}).strategy) == (Step(100),)


@pytest.mark.parametrize(
    ("target", "changes", "words"),
    [
        ("docker", {"production": {"serverless": SERVERLESS}}, "serverless model servers are processes"),
        ("local", {"container": {"image": "shop/late:1"}}, "need target: docker"),
    ],
)
def test_ways_to_serve_that_a_target_lacks_are_refused(target, changes, words):
    flights = load(FLIGHTS).project
    document = flights.model_dump(mode="json", by_alias=True)
    document["production"] |= changes.get("production", {})
    document["container"] |= changes.get("container", {})
    project = Project.model_validate_json(json.dumps(document))
    with pytest.raises(PlanRefused, match=words):
        check_serving(project, target)
    check_serving(flights, target)


def serverless(kind="", container=None, rollout=None, **production):
    """What is said of the flights example as a serverless endpoint; empty when nothing is."""
    document = load(FLIGHTS).project.model_dump(mode="json", by_alias=True)
    document["production"] |= {"serverless": SERVERLESS, "instance_count": 1, **production}
    document["production"]["rollout"] = {"strategy": [{"type": "all_at_once"}]} | (rollout or {})
    document["container"] |= container or {}
    try:
        check_serving(Project.model_validate_json(json.dumps(document)), "local", kind)
    except PlanRefused as refused:
        return str(refused).removeprefix("the endpoint cannot be served like this: ")
    return ""


def test_a_serverless_endpoint_that_switches_at_once_is_served():
    assert serverless() == ""


def test_who_says_nothing_of_instances_is_not_held_to_their_default():
    document = load(FLIGHTS).project.model_dump(mode="json", by_alias=True)
    document["production"] |= {"serverless": SERVERLESS, "rollout": {"strategy": [{"type": "all_at_once"}]}}
    del document["production"]["instance_count"]
    project = Project.model_validate_json(json.dumps(document))
    kept = Project.model_validate_json(json.dumps(dump(project)))
    check_serving(kept, "local")
    assert (kept, dump(kept)) == (project, dump(project))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"container": {"image": "shop/late:1"}}, "no image of another registry"),
        ({"container": {"cpus": 2}}, "follow serverless.memory_size_in_mb"),
        ({"instance_count": 2}, "starts model servers itself and has no 2 instances"),
        ({"kind": "multi-model"}, "serves one model, not many"),
        ({"kind": "pipeline"}, "serves no inference pipeline"),
        ({"capture": {}}, "captures no data, so nothing can watch it"),
        ({"rollout": {"strategy": [{"type": "shadow", "bake": "1m"}]}}, "no shadow test"),
        ({"rollout": {"strategy": [{"type": "canary", "weights": ["9%"], "bake": "1m"}]}}, "no canary"),
        ({"rollout": {"strategy": [{"type": "linear", "step": "20%", "bake": "1m"}]}}, "no linear steps"),
        ({"rollout": ROLLING}, "batch by batch"),
        ({"rollout": {"probation": {"duration": "1h"}}}, "no probation"),
    ],
)
def test_what_serverless_excludes_is_refused_in_one_sentence(asked, words):
    said = [one for one in serverless(**asked).split("; ") if "need target: docker" not in one]
    assert words in said[0]
    assert len(said) == 2, "what is wrong; what to do"


@pytest.mark.parametrize("entry", ["gpus", "vpc_config", "network_isolation", "accelerator_type"])
@pytest.mark.parametrize("place", ["container", "production", "serverless"])
def test_what_no_endpoint_has_is_no_entry_of_the_project_file(place, entry):
    document = load(FLIGHTS).project.model_dump(mode="json", by_alias=True)
    document["production"]["serverless"] = dict(SERVERLESS)
    sections = {"container": document["container"], "production": document["production"]}
    sections["serverless"] = document["production"]["serverless"]
    sections[place][entry] = 1
    with pytest.raises(ValidationError, match=entry):
        Project.model_validate_json(json.dumps(document))


def test_instances_never_become_serverless_but_the_other_way_is_open():
    flights = load(FLIGHTS).project
    document = flights.model_dump(mode="json", by_alias=True)
    document["production"]["serverless"] = SERVERLESS
    wanted = Project.model_validate_json(json.dumps(document))
    with pytest.raises(PlanRefused, match="cannot become serverless"):
        check_update(wanted, serverless=False)
    check_update(wanted, serverless=True)
    check_update(flights, serverless=True)
