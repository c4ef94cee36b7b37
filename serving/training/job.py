"""A training job as its container sees it: the files of `/opt/ml/input/config`, and what scripts get of them.

Reading is one function; the command line and the `SM_` variables are pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import contract
from serving.contract import Tree
from serving.errors import Permanent

PREFIX = "sagemaker_"
_PLAIN = frozenset(
    {
        "program",
        "submit_directory",
        "container_log_level",
        "region",
        "job_name",
        "s3_output",
        "enable_cloudwatch_metrics",
    }
)
"""Framework parameters that have variables of their own."""
_DISTRIBUTED = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_torch_distributed_enabled",
)


class JobInvalid(Permanent):
    """The job's configuration cannot be followed; the message says which entry, and what to change."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for."""

    hyperparameters: Mapping[str, Any]
    """The user's own; values are decoded from JSON where they are JSON."""
    framework: Mapping[str, Any]
    """Those that begin with `sagemaker_`, for the container."""
    channels: Mapping[str, Any]
    """By name, as `inputdataconfig.json` describes them."""
    resources: Mapping[str, Any]
    """`resourceconfig.json`: this host and the others."""
    name: str = ""

    @property
    def hosts(self) -> list[str]:
        """All hosts, sorted; the first is rank 0."""
        return sorted(self.resources["hosts"])

    @property
    def program(self) -> str:
        """File name of the script; empty when there is none."""
        return str(self.framework.get("sagemaker_program") or "")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a container counts on its host."""

    cpus: int
    gpus: int = 0


def read(tree: Tree, environ: Mapping[str, str]) -> Job:
    """Read the configuration; a file that is not there is empty, and the host is then alone.

    Raises:
        JobInvalid: a file is no JSON object, or asks for what this container cannot do.
    """
    given = {key: _decoded(value) for key, value in _object(tree, "hyperparameters.json").items()}
    framework = {key: value for key, value in given.items() if key.startswith(PREFIX)}
    if wanted := [name for name in _DISTRIBUTED if framework.get(name)]:
        raise JobInvalid(
            f"hyperparameter {wanted[0]} asks for a distributed launcher, which this container lacks; "
            "start the processes from the script, by SM_HOSTS and SM_CURRENT_HOST"
        )
    if environ.get(contract.PROGRAM):
        framework["sagemaker_program"] = environ[contract.PROGRAM]
    if environ.get(contract.SUBMIT_DIRECTORY):
        framework["sagemaker_submit_directory"] = environ[contract.SUBMIT_DIRECTORY]
    alone = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    found = _object(tree, "resourceconfig.json") or _object(
        tree, "resourceConfig.json"
    )  # some images' spelling
    own = {key: value for key, value in given.items() if not key.startswith(PREFIX)}
    channels = _object(tree, "inputdataconfig.json") or _channels_by_folder(tree)
    name = environ.get(contract.TRAINING_JOB_NAME) or str(framework.get("sagemaker_job_name") or "")
    return Job(own, framework, channels, {**alone, **found}, name)


def _object(tree: Tree, name: str) -> dict[str, Any]:
    file = tree.input_config / name
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise JobInvalid(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise JobInvalid(f"{name} must be a JSON object")
    return value


def _channels_by_folder(tree: Tree) -> dict[str, Any]:
    data = tree.input / "data"
    return {place.name: {} for place in sorted(data.iterdir()) if place.is_dir()} if data.is_dir() else {}


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError):
        return value


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """A script's command line: `--key value` by sorted keys, `-k value` for keys of one letter."""
    found = []
    for key in sorted(hyperparameters):
        found += [f"--{key}" if len(key) > 1 else f"-{key}", _argument(hyperparameters[key])]
    return found


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={value[key]}" for key in sorted(value))
    return "" if value is None else str(value)


def variables(
    job: Job, tree: Tree, code: Path, machine: Machine, environ: Mapping[str, str]
) -> dict[str, str]:
    """The `SM_` variables of a script, and what else the training toolkit sets."""
    values = _values(job, tree, code, machine, environ)
    values["training_env"] = _training_env(job, values)
    found = {f"SM_{name.upper()}": _text(value) for name, value in values.items()}
    found |= {f"SM_CHANNEL_{name.upper()}": str(tree.channel(name)) for name in job.channels}
    found |= {f"SM_HP_{name.upper()}": _text(value) for name, value in job.hyperparameters.items()}
    region = job.framework.get("sagemaker_region") or environ.get("AWS_REGION", "")
    return found | {
        "CURRENT_HOST": str(values["current_host"]),
        "SAGEMAKER_JOB_NAME": job.name,
        "SAGEMAKER_REGION": str(region),
    }


def _values(job: Job, tree: Tree, code: Path, machine: Machine, environ: Mapping[str, str]) -> dict[str, Any]:
    host = job.resources["current_host"]
    group = job.resources.get("current_group_name", "homogeneousCluster")
    kind = job.resources.get("current_instance_type", "local")
    alone = {"instance_group_name": group, "instance_type": kind, "hosts": job.hosts}
    groups = {one["instance_group_name"]: one for one in job.resources.get("instance_groups") or [alone]}
    names = sorted(groups)
    return {
        "model_dir": str(tree.model),
        "input_dir": str(tree.input),
        "input_config_dir": str(tree.input_config),
        "output_dir": str(tree.output),
        "output_data_dir": str(tree.output_data),
        "output_intermediate_dir": str(tree.output_intermediate),
        "channels": sorted(job.channels),
        "hps": dict(job.hyperparameters),
        "user_args": arguments(job.hyperparameters),
        "user_entry_point": job.program,
        "module_dir": str(job.framework.get("sagemaker_submit_directory") or code),
        "module_name": job.program.removesuffix(".py"),
        "framework_module": environ.get(contract.FRAMEWORK_MODULE, ""),
        "framework_params": {
            key: value for key, value in job.framework.items() if key.removeprefix(PREFIX) not in _PLAIN
        },
        "resource_config": dict(job.resources),
        "input_data_config": dict(job.channels),
        "log_level": job.framework.get("sagemaker_container_log_level", environ.get(contract.LOG_LEVEL, 20)),
        "num_cpus": machine.cpus,
        "num_gpus": machine.gpus,
        "num_neurons": 0,
        "hosts": job.hosts,
        "current_host": host,
        "current_instance_type": kind,
        "current_instance_group": group,
        "current_instance_group_hosts": sorted(groups.get(group, alone)["hosts"]),
        "instance_groups": names,
        "instance_groups_dict": groups,
        "distribution_instance_groups": names,
        "is_hetero": len(names) > 1,
        "network_interface_name": job.resources.get("network_interface_name", "eth0"),
        "topology": job.resources.get("topology"),
    }


def _training_env(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """All of it once more, as one object with the toolkit's names."""
    moved = {"hps": "hyperparameters", "framework_params": "additional_framework_parameters"}
    first = job.hosts[0]
    left_out = ("channels", "user_args")
    kept = {moved.get(name, name): value for name, value in values.items() if name not in left_out}
    places = {name: f"{values['input_dir']}/data/{name}" for name in job.channels}
    rank = {"master_hostname": first, "is_master": values["current_host"] == first}
    return {**kept, **rank, "channel_input_dirs": places, "job_name": job.name}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
