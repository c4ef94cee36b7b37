from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from serving.contract import Tree
from serving.training import job, scripted
from serving.training.job import JobInvalid, Machine

HYPERPARAMETERS = {
    "epochs": "3",
    "lr": "0.1",
    "optimizer": "adam",
    "b": "true",
    "layers": "[8, 4]",
    "weights": '{"y": 2, "x": 1}',
    "k-fold": "5",
    "sagemaker_program": '"train.py"',
    "sagemaker_job_name": '"job-7"',
    "sagemaker_region": '"local"',
    "sagemaker_debug": "1",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.input_config.mkdir(parents=True)
    return tree


def put(tree: Tree, name: str, value: object) -> None:
    (tree.input_config / name).write_text(json.dumps(value))


def test_command_line(tree: Tree) -> None:
    put(tree, "hyperparameters.json", HYPERPARAMETERS)
    found = job.arguments(job.read(tree, {}).hyperparameters)
    assert found == [
        *("-b", "True", "--epochs", "3", "--k-fold", "5", "--layers", "[8, 4]"),
        *("--lr", "0.1", "--optimizer", "adam", "--weights", "x=1,y=2"),
    ]


def test_variables(tree: Tree) -> None:
    put(tree, "hyperparameters.json", HYPERPARAMETERS)
    put(tree, "inputdataconfig.json", {"train": {"TrainingInputMode": "File"}, "my-test": {}})
    put(tree, "resourceConfig.json", {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]})
    asked = job.read(tree, {})
    found = job.variables(asked, tree, tree.code, Machine(2), {})
    base = str(tree.base)
    expected = {
        "SM_MODEL_DIR": f"{base}/model",
        "SM_OUTPUT_DATA_DIR": f"{base}/output/data",
        "SM_CHANNELS": '["my-test","train"]',
        "SM_CHANNEL_TRAIN": f"{base}/input/data/train",
        "SM_CHANNEL_MY-TEST": f"{base}/input/data/my-test",
        "SM_HP_EPOCHS": "3",
        "SM_HP_OPTIMIZER": "adam",
        "SM_HP_LAYERS": "[8,4]",
        "SM_HP_K-FOLD": "5",
        "SM_HPS": '{"b":true,"epochs":3,"k-fold":5,"layers":[8,4],"lr":0.1,"optimizer":"adam","weights":{"x":1,"y":2}}',
        "SM_HOSTS": '["algo-1","algo-2"]',
        "SM_CURRENT_HOST": "algo-2",
        "SM_CURRENT_INSTANCE_GROUP": "homogeneousCluster",
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": '["algo-1","algo-2"]',
        "SM_IS_HETERO": "false",
        "SM_NUM_CPUS": "2",
        "SM_NUM_GPUS": "0",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_NAME": "train",
        "SM_FRAMEWORK_PARAMS": '{"sagemaker_debug":1}',
        "SM_NETWORK_INTERFACE_NAME": "eth0",
        "SM_LOG_LEVEL": "20",
        "SAGEMAKER_REGION": "local",
        "SAGEMAKER_JOB_NAME": "job-7",
    }
    assert {name: found.get(name) for name in expected} == expected
    whole = json.loads(found["SM_TRAINING_ENV"])
    assert (whole["is_master"], whole["master_hostname"], whole["job_name"]) == (False, "algo-1", "job-7")
    assert whole["channel_input_dirs"]["train"] == f"{base}/input/data/train"
    assert whole["hyperparameters"]["lr"] == 0.1


def test_without_files_the_host_is_alone(tree: Tree) -> None:
    tree.channel("training").mkdir(parents=True)
    asked = job.read(tree, {"TRAINING_JOB_NAME": "j"})
    assert (asked.name, asked.hosts, list(asked.channels), asked.program) == (
        "j",
        ["algo-1"],
        ["training"],
        "",
    )


@pytest.mark.parametrize(
    ("content", "match"),
    [("{", "not JSON"), ("[]", "JSON object"), ('{"sagemaker_mpi_enabled": "true"}', "distributed")],
)
def test_what_cannot_be_followed_is_named(tree: Tree, content: str, match: str) -> None:
    (tree.input_config / "hyperparameters.json").write_text(content)
    with pytest.raises(JobInvalid, match=match):
        job.read(tree, {})


def test_code_is_found(tree: Tree, tmp_path: Path) -> None:
    asked = job.read(
        tree, {"SAGEMAKER_PROGRAM": "t.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/source.tar.gz"}
    )
    with pytest.raises(JobInvalid, match="mount the code"):
        scripted.code_folder(asked, tree)
    tree.code.mkdir()
    (tree.code / "t.py").touch()
    assert scripted.code_folder(asked, tree) == tree.code
    other = tmp_path / "other"
    other.mkdir()
    (other / "t.py").touch()
    asked = job.read(tree, {"SAGEMAKER_PROGRAM": "t.py", "SAGEMAKER_SUBMIT_DIRECTORY": f"file://{other}"})
    assert scripted.code_folder(asked, tree) == other


def test_commands() -> None:
    assert scripted.command(Path("/c/t.py"), ["-x", "1"]) == [sys.executable, "/c/t.py", "-x", "1"]
    assert scripted.command(Path("/c/go.sh"), []) == ["/bin/sh", "/c/go.sh"]


def test_failure_begins_with_what_matters() -> None:
    lines = ("noise", "Traceback (most recent call last):", "  File x", "ValueError: bad depth")
    text = scripted.failure(scripted.Ended(3, lines), ["python", "t.py"])
    assert text.startswith(
        'ExecuteUserScriptError:\nExitCode 3\nErrorMessage "ValueError: bad depth"\nCommand "python t.py"\n'
    )
    assert "noise" not in text
    assert "Traceback" in text
