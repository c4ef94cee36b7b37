"""The one place where adapters are constructed."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from configs.settings import GATEWAYS, Settings
from deploy.controller import Controller
from deploy.packages import archives
from deploy.port import Target
from deploy.store import Store
from flows.trigger import Trigger
from registry.approvals import Desk
from registry.evidence import Shelf
from registry.gestures import Gestures
from registry.ledger import Ledger
from registry.mlflow import MlflowRegistry
from registry.server import SERVICE_USER
from registry.tables import create_tables, open_store


@dataclass(frozen=True)
class Wiring:
    """Everything one process of an installation talks to; each part is made when it is first used."""

    settings: Settings

    @cached_property
    def engine(self) -> Engine:
        """Seaway's database, its tables made."""
        engine = open_store(self.settings.store)
        Store(engine).create()
        create_tables(engine)
        return engine

    @cached_property
    def store(self) -> Store:
        """Endpoints and rollouts."""
        return Store(self.engine)

    @cached_property
    def registry(self) -> MlflowRegistry:
        """Model versions."""
        return MlflowRegistry(self.settings.url("mlflow"), *(self.registry_login or ()))

    @property
    def registry_login(self) -> tuple[str, str] | None:
        """User and password of Seaway itself at the registry; None without --auth."""
        return (SERVICE_USER, self.settings.secret("mlflow_admin")) if self.settings.auth else None

    def log_in(self) -> None:
        """Give this process the registry's login, where the MLflow library looks for it."""
        if login := self.registry_login:
            os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = login

    @cached_property
    def desk(self) -> Desk:
        """Approvals."""
        shelf = Shelf(self.registry, self.settings.home / "evidence")
        return Desk(self.registry, Ledger(self.engine), Gestures(self.engine), shelf)

    @cached_property
    def trigger(self) -> Trigger:
        """Flow runs."""
        return Trigger(self.settings.url("prefect") + "/api")

    @property
    def archives(self) -> Path:
        """Packages by digest."""
        return archives(self.settings.home)

    @cached_property
    def target(self) -> Target:
        """Where endpoints run."""
        from deploy.containers import home_id
        from deploy.dispatch import Dispatch
        from deploy.engine import Engine
        from deploy.envoy import ConfigFolder, EnvoyAdmin
        from deploy.gateways import Gateways
        from deploy.image import Stock
        from deploy.supervise import Supervisor
        from deploy.targets.docker import DockerTarget
        from deploy.targets.local import LocalTarget

        home = self.settings.home
        admins = {name: EnvoyAdmin(self.settings.url(port)) for name, port in GATEWAYS.items()}
        gateways, folder = Gateways(admins), ConfigFolder(home / "gateway")
        targets: dict[str, Target] = {
            "local": LocalTarget(home, Supervisor(home), gateways, folder),
            "docker": DockerTarget(home, Engine(home_id(home)), gateways, folder, stock=Stock()),
        }
        first = self.settings.target
        return Dispatch({first: targets[first], **targets})

    @cached_property
    def controller(self) -> Controller:
        """The process that acts; make only one."""
        from deploy.backlogs import ServiceBacklogs

        backlogs = ServiceBacklogs(self.settings.url("asynchronous"), self.settings.home / "async")
        return Controller(self.store, self.target, self.archives, utc_now, backlogs)

    def invocations(self, endpoint: str) -> str:
        """Address at which an endpoint answers."""
        return f"{self.settings.url('gateway')}/endpoints/{endpoint}/invocations"


def connect(settings: Settings | None = None) -> Wiring:
    """The wiring of the installation that `SEAWAY_HOME` names.

    Raises:
        FileNotFoundError: nothing was ever started there.
    """
    found = settings or Settings.load()
    if not (found.home / "settings.json").exists():
        raise FileNotFoundError(
            f"there is no Seaway in {found.home}; start one with `seaway up`, or set SEAWAY_HOME"
        )
    return Wiring(found)


def utc_now() -> datetime:
    """The clock of the outermost edge."""
    return datetime.now(UTC)  # noqa: TID251 (the edge)


def operating_system_user() -> str:
    """Who is logged in on this machine."""
    try:
        return getpass.getuser()
    except KeyError:
        return f"uid {os.getuid()}"
