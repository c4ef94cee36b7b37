"""The sidecar before a container of which nothing is known but SageMaker's contract.

It captures what the endpoint captures, and frames streamed answers, which such containers cannot. Both share
one network: the sidecar's port is published, and it reaches the container on port 8080 of its own loopback
address. The sidecar starts first and ends first, so it passes on whatever it has taken. To the
target the two are one instance, which has ended when one of them has. Decisions only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy import containers
from deploy.containers import CAPTURE, PORT, SIDECAR, SPECIFICATION, Limits, Look, Part
from deploy.port import Fleet

SIDECAR_PORT = 18080
"""Where the sidecar listens; beside whatever the image may use."""
SIDECAR_LIMITS = Limits(memory=512 << 20, cpus=1.0, processes=128)

_LIMITS_TOLD = ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "SAGEMAKER_MODEL_SERVER_TIMEOUT")
_LOGIN = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)


def captures(fleet: Fleet) -> dict[str, Any]:
    """The settings of the fleet's capture; empty when nothing is to be captured."""
    text = dict(fleet.environment).get(CAPTURE, "")
    return dict(json.loads(text)) if text else {}


def extras(fleet: Fleet) -> tuple[str, ...]:
    """What the image of whoever captures must have beside, as keys of `rootfs.EXTRAS`."""
    asked = captures(fleet)
    wanted = {"s3": _to_bucket(asked), "encryption": bool(asked.get("key_variable"))}
    return tuple(name for name, needed in wanted.items() if needed)


def equipped(fleet: Fleet, environ: Mapping[str, str], spool: Path) -> Fleet:
    """The fleet with what capture needs inside a container.

    Args:
        fleet: as it was asked for.
        environ: the platform's variables, where keys and logins are.
        spool: folder outside in which files for S3 wait, so that no end of a container loses them.
    """
    asked = captures(fleet)
    if not asked:
        return fleet
    names = [asked["key_variable"]] if asked.get("key_variable") else []
    if _to_bucket(asked):
        names += _LOGIN
        asked.setdefault("spool", str(spool))
    told = {name: environ[name] for name in names if name in environ} | dict(fleet.environment)
    return replace(fleet, environment=tuple({**told, CAPTURE: json.dumps(asked)}.items()))


def pair(
    fleet: Fleet,
    slot: int,
    *,
    equipped: Fleet,
    package: Path,
    limits: Limits,
    home: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the engine is asked to create, in the order in which it is started: sidecar and container.

    Args:
        fleet: whose instance it is.
        equipped: the same with what capture needs, and with the sidecar's image.
        slot: its number in the fleet.
        package: folder of the unpacked package, on the engine's machine.
        limits: of the target; those of the fleet go first.
        home: `home_id` of the installation.
    """
    front = _sidecar(equipped, slot, package, home)
    plain = tuple((name, value) for name, value in fleet.environment if name != CAPTURE)
    behind = containers.arguments(
        replace(fleet, environment=plain),
        slot,
        image=fleet.image,
        package=package,
        limits=limits,
        home=home,
        part=Part(network=f"container:{front['name']}"),
    )
    return front, behind


def together(container: Look | None, sidecar: Look | None) -> Look | None:
    """An instance's two containers as one: it runs while both do, and has ended when one has."""
    if container is None or sidecar is None:
        return container or sidecar
    first_over = sorted((one for one in (container, sidecar) if one.over), key=lambda one: one.ended)
    shown = first_over[0] if first_over else container
    return replace(
        shown,
        status=shown.status if first_over or sidecar.up else sidecar.status,
        port=sidecar.port,
        specification=specification((sidecar.specification, container.specification)),
    )


def specification(parts: Iterable[str]) -> str:
    """The specifications of an instance's containers, in the order in which they start, as one."""
    return "+".join(parts)


def specified(asked: Iterable[Mapping[str, Any]]) -> str:
    """The specification that the look at these containers would show."""
    return specification(one["labels"][SPECIFICATION] for one in asked)


def _sidecar(fleet: Fleet, slot: int, package: Path, home: str) -> dict[str, Any]:
    told, key = dict(fleet.environment), str(captures(fleet).get("key_variable") or "")
    passed = {CAPTURE, "SEAWAY_ENDPOINT", "SEAWAY_VARIANT", key, *_LIMITS_TOLD, *_LOGIN}
    asked = replace(
        fleet,
        environment=tuple((name, told[name]) for name in told if name in passed),
        memory=SIDECAR_LIMITS.memory,
        cpus=SIDECAR_LIMITS.cpus,
        profile=containers.LEAST,
    )
    options = ("--upstream", f"http://127.0.0.1:{PORT}", "--host", "0.0.0.0")  # noqa: S104 (inside)
    command = ("python3", "-m", "serving.sidecar", *options, "--port", str(SIDECAR_PORT))
    return containers.arguments(
        asked,
        slot,
        image=fleet.image,
        package=package,
        limits=SIDECAR_LIMITS,
        home=home,
        part=Part(SIDECAR, command, SIDECAR_PORT),
    )


def _to_bucket(asked: Mapping[str, Any]) -> bool:
    return str(asked.get("destination", "")).startswith("s3://")
