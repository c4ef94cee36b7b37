"""What is watched: an endpoint's settings, and the version and package behind one of its variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.monitor import Monitor
from deploy.errors import RolloutRefused
from deploy.stored import Endpoint
from flows.dossier import project_of
from flows.monitoring.executions import Watch
from flows.replaying import side, version_of

if TYPE_CHECKING:
    from flows.wiring import Wiring

PREPROCESS = "preprocess.py"
"""The project's script in it."""
BASELINE = "baseline"
"""Folder of a package that holds what live data are compared with."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An endpoint and how it shall be watched."""

    endpoint: str
    model: str
    stable: str
    """Version that serves."""
    settings: Monitor
    notify: tuple[str, ...] = ()
    """Environment variables with the addresses of people."""
    target: str = ""
    """Column that the model predicts, where the project says so."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One version that answered requests, as its package has it."""

    variant: str
    model: str
    version: str
    package: Path
    """Unpacked."""

    @property
    def baseline(self) -> Path:
        """Where its baseline is, if it has one."""
        return self.package / BASELINE


def watched(wiring: Wiring, endpoint: str, watch: Watch | None) -> Watched:
    """Settings of an endpoint: those that somebody gave, else those of the version that serves.

    Raises:
        RolloutRefused: the endpoint serves nothing, or nobody said how to watch it.
        registry.errors.RegistryError: the registry does not have, or does not give, the version's project.
    """
    found = serving(wiring.store.endpoint(endpoint), endpoint)
    assert found.stable is not None  # noqa: S101 (serving() has looked)
    model, number = found.stable.model, found.stable.version
    project = project_of(wiring.registry, version_of(wiring, model, number))
    given = Monitor.model_validate_json(watch.settings) if watch and watch.settings else None
    settings = given or project.monitor
    if settings is None:
        raise RolloutRefused(
            f"version {number} of {model} has no section `monitor:` in its project file; add one and build "
            f"it, or give a project file that has one: seaway monitor start {endpoint} --project FILE"
        )
    target = getattr(getattr(project, "data", None), "target", "")
    return Watched(endpoint, model, number, settings, settings.notify or project.production.notify, target)


def serving(found: Endpoint | None, name: str) -> Endpoint:
    """The endpoint, if it can be watched.

    Raises:
        RolloutRefused: it is not there, serves nothing, or is serverless.
    """
    if found is None or found.stable is None:
        raise RolloutRefused(
            f"endpoint {name} serves nothing to watch; `seaway endpoints` lists what there is"
        )
    if found.stable.serverless:
        raise RolloutRefused(
            f"endpoint {name} is serverless and captures no data, so nothing can watch it; "
            "serve it on instances"
        )
    return found


def subject(wiring: Wiring, model: str, variant: str) -> Subject:
    """The version behind a variant, its package verified and unpacked.

    Raises:
        registry.errors.NotFound: the version is gone.
        steps.errors.DataRefused: the package is not the registered one.
    """
    number = variant.removeprefix("v")
    found = side(wiring, model, number)
    return Subject(variant, model, number, found.folder)
