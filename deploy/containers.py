"""What a container of a fleet is: its name, its privileges, its limits, and what its state means.

Decisions only; `deploy/targets/docker.py` carries them out. An image keeps SageMaker's contract: started with
the argument `serve`, it answers `GET /ping` and `POST /invocations` on port 8080 and finds the unpacked
package in `/opt/ml/model`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.errors import PlanRefused
from deploy.instances import LONGEST_PAUSE, UNSEEN, Instance
from deploy.port import Fleet
from serving.capture.settings import parse

PORT = 8080
"""Where every image listens."""
MODEL = "/opt/ml/model"
"""Where every image finds its package."""
UID = 10001
"""User and group of the processes in a container, unless its image insists on root."""
LEAST, ROOT_COMPAT, ROOT_WRITABLE = "least", "root-compat", "root-writable"
"""The profiles: no privileges at all; root with the four capabilities that nginx and its like need; or that
and a root file system which may be written to, for images that keep files of their own anywhere."""
HOME, FLEET, SLOT, SPECIFICATION = "seaway.home", "seaway.fleet", "seaway.slot", "seaway.specification"
"""Labels by which our containers are found again."""
SIDECAR = ".sidecar"
"""How the name of a container ends that stands before another one."""
CAPTURE = "SEAWAY_CAPTURE"
"""Variable with the settings of capture, as JSON."""
STARTUP_SECONDS = 480.0
"""Longest time from the start of an instance with a whole processor to its first answer to `/ping`."""
GRACE_SECONDS = 35.0
"""After the signal to end and this long a container is killed; a model server takes up to 30 s."""
STEADY_SECONDS = LONGEST_PAUSE
"""An instance that ran this long before it ended is started again at once."""

_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID")
_WRITABLE = ("/run", "/var/lib/nginx", "/var/log/nginx")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one instance may take."""

    memory: int = 1 << 30
    """Bytes, swap included."""
    cpus: float = 1.0
    """Processors; a fraction is a share of one."""
    processes: int = 256
    """Processes and threads."""

    def of(self, fleet: Fleet) -> Limits:
        """These limits with those of the fleet on top."""
        return Limits(fleet.memory or self.memory, fleet.cpus or self.cpus, self.processes)

    @property
    def startup_seconds(self) -> float:
        """How long a start may take: half a processor needs twice the time."""
        return STARTUP_SECONDS / min(1.0, self.cpus)


@dataclass(frozen=True, slots=True)
class Part:
    """What sets the containers of one instance apart."""

    suffix: str = ""
    """How its name ends."""
    command: tuple[str, ...] = ("serve",)
    """What the image is told to do."""
    port: int = PORT
    """Where it listens."""
    network: str = ""
    """`container:NAME` of the one whose network it shares, which publishes its port for both."""


@dataclass(frozen=True, slots=True)
class Look:
    """A container as the engine shows it."""

    name: str
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    pid: int = 0
    port: int = 0
    """On 127.0.0.1, chosen by the engine; another one after every start."""
    exit_code: int = 0
    out_of_memory: bool = False
    """The kernel ended a process of it for want of memory."""
    started: float = 0.0
    """Seconds since the epoch; 0 before the first start."""
    ended: float = 0.0
    specification: str = ""
    error: str = ""
    """Why the engine could not start it."""

    @property
    def up(self) -> bool:
        """It has processes."""
        return self.status in {"running", "paused", "restarting"}

    @property
    def sidecar(self) -> bool:
        """It stands before another container."""
        return self.name.endswith(SIDECAR)

    @property
    def over(self) -> bool:
        """It had processes and has none any more, or never got any."""
        return self.status in {"exited", "dead"} or self.failed

    @property
    def failed(self) -> bool:
        """The engine could not start it."""
        return self.status == "created" and bool(self.error)

    @property
    def state(self) -> str:
        """The same in the words of `Instance.looked_at`."""
        return "EXITED" if self.over else "RUNNING" if self.up else "STARTING"


def home_id(home: Path) -> str:
    """Short name of an installation, so that several can share one engine."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:12]


def instance_name(fleet: str, slot: int) -> str:
    """Name of an instance and of its log: `late-arrivals.v2.0123456789ab.1`."""
    return f"{fleet}.{slot}"


def container_name(home: str, fleet: str, slot: int) -> str:
    """Name of its container, unique on the engine."""
    return f"seaway-{home}-{instance_name(fleet, slot)}"


def free_slot(taken: set[int]) -> int:
    """The smallest number that no instance of the fleet has."""
    return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)


def arguments(
    fleet: Fleet,
    slot: int,
    *,
    image: str,
    package: Path,
    limits: Limits,
    home: str,
    part: Part | None = None,
) -> dict[str, Any]:
    """What the engine is asked to create: arguments of `containers.create` in Docker's SDK.

    Args:
        fleet: whose instance it is.
        slot: its number in the fleet.
        image: name or digest of the image.
        package: folder of the unpacked package, on the engine's machine.
        limits: of the target; those of the fleet go first.
        home: `home_id` of the installation.
        part: which of the instance's containers it is; its only one when not given.

    Raises:
        PlanRefused: there is no such profile.
    """
    limits, part = limits.of(fleet), part or Part()
    published = {"ports": {f"{part.port}/tcp": ("127.0.0.1", None)}}
    asked: dict[str, Any] = {
        "image": image,
        "command": list(part.command),
        "name": container_name(home, fleet.id, slot) + part.suffix,
        "environment": _environment(fleet, limits),
        **({"network_mode": part.network} if part.network else published),
        "volumes": {str(package): {"bind": MODEL, "mode": "ro"}}
        | {folder: {"bind": folder, "mode": "rw"} for folder in written(fleet)},
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "nano_cpus": round(limits.cpus * 1_000_000_000),
        "pids_limit": limits.processes,
        "init": True,
        "healthcheck": {"test": ["NONE"]},
        "log_config": {"type": "json-file", "config": {"max-size": "5m", "max-file": "2"}},
        **_privileges(fleet.profile or LEAST),
    }
    labels = {HOME: home, FLEET: fleet.id, SLOT: str(slot)}
    return {**asked, "labels": {**labels, SPECIFICATION: _fingerprint(asked)}}


def written(fleet: Fleet) -> tuple[str, ...]:
    """Folders outside that an instance writes to: those of captures and outcomes, unless these go to S3."""
    capture = dict(fleet.environment).get(CAPTURE, "")
    if not capture:
        return ()
    settings = parse(capture)
    named = (settings.destination, settings.outcomes, settings.spool)
    return tuple(folder for folder in named if folder.startswith("/"))


def look(inspected: Mapping[str, Any]) -> Look:
    """Read what the engine says of a container (`docker inspect`)."""
    state, config = inspected["State"], inspected["Config"]
    ports = inspected["NetworkSettings"].get("Ports") or {}
    published: list[dict[str, str]] = next((places for places in ports.values() if places), [])
    error = state.get("Error", "")
    created = seconds(inspected["Created"]) if error else 0.0
    return Look(
        name=inspected["Name"].removeprefix("/"),
        status=state["Status"],
        pid=int(state["Pid"]),
        port=int(published[0]["HostPort"]) if published else 0,
        exit_code=int(state["ExitCode"]),
        out_of_memory=bool(state["OOMKilled"]),
        started=seconds(state["StartedAt"]),
        ended=seconds(state["FinishedAt"]) or created,
        specification=(config.get("Labels") or {}).get(SPECIFICATION, ""),
        error=error,
    )


def looked_at(instance: Instance, seen: Look, limits: Limits) -> Instance:
    """The instance after a look at its container."""
    after = instance.looked_at(seen.state, seen.pid)
    if after.crashes > instance.crashes:
        return replace(after, answered=False, ended=reason(seen, limits))
    return replace(after, port=seen.port or instance.port)


def revivable(instance: Instance, seen: Look, now: float) -> bool:
    """It ended, and the pause before another attempt is over."""
    if not seen.over:
        return False
    steady = seen.ended - seen.started >= STEADY_SECONDS
    return steady or now - seen.ended >= instance.pause


def overdue(instance: Instance, seen: Look, limits: Limits, now: float) -> bool:
    """It runs, but has not answered once in the time a start may take."""
    return seen.up and not instance.answered and now - seen.started > limits.startup_seconds


def given_up(instance: Instance, limits: Limits) -> Instance:
    """The instance after it was ended because it was overdue; that counts as a crash."""
    why = f"it did not answer /ping with 200 within {limits.startup_seconds:.0f} s"
    return replace(instance, pid=0, crashes=instance.crashes + 1, ended=why)


def started_again(instance: Instance) -> Instance:
    """The instance after another attempt."""
    return replace(instance, pid=UNSEEN, answered=False, revivals=instance.revivals + 1)


def reason(seen: Look, limits: Limits) -> str:
    """Why a container ended, in words."""
    if seen.out_of_memory:
        return (
            f"it was ended because it needs more than its {limits.memory / 2**20:.0f} MiB of memory; "
            "give it more, or a smaller model"
        )
    if seen.error:
        return f"the engine could not start it: {seen.error}"
    if seen.exit_code in {126, 127}:
        return (
            f"it ended with exit code {seen.exit_code}: most likely its image has no program `serve` to run"
        )
    if seen.exit_code > 128:
        return f"it was ended by signal {seen.exit_code - 128}"
    return f"it ended by itself with exit code {seen.exit_code}"


def _environment(fleet: Fleet, limits: Limits) -> dict[str, str]:
    """Programs see every processor of the machine, whatever the limit; these variables tell them better."""
    whole = str(max(1, round(limits.cpus)))
    named = ("MODEL_SERVER_WORKERS", "SAGEMAKER_MODEL_SERVER_WORKERS", *_THREADS)
    defaults = {**dict.fromkeys(named, whole), "SAGEMAKER_BIND_TO_PORT": str(PORT), "HOME": "/tmp"}  # noqa: S108 (inside)
    return {**defaults, **dict(fleet.environment)}


def _privileges(profile: str) -> dict[str, Any]:
    if profile not in {LEAST, ROOT_COMPAT, ROOT_WRITABLE}:
        choice = f"{LEAST}, {ROOT_COMPAT} or {ROOT_WRITABLE}"
        raise PlanRefused(f"there is no profile {profile!r} for containers; choose {choice}")
    rootless = profile == LEAST
    owner = f",uid={UID},gid={UID},mode=0755" if rootless else ""
    folders = dict.fromkeys(_WRITABLE, f"rw,noexec,nosuid,size=64m{owner}")
    allowed = {"user": f"{UID}:{UID}"} if rootless else {"cap_add": list(_CAPABILITIES), "user": "0:0"}
    return {
        "read_only": profile != ROOT_WRITABLE,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": {"/tmp": "rw,noexec,nosuid,size=256m", **folders},  # noqa: S108 (inside the container)
        **allowed,
    }


def _fingerprint(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def seconds(text: str) -> float:
    """Docker's time stamps have nine digits of a second, and the year 1 for never."""
    if not text or text.startswith("0001-"):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
