"""The local target with a supervisor, gateways and packages of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.envoy import ConfigFolder
from deploy.gateways import Gateways
from deploy.port import Fleet
from deploy.supervise import Supervisor
from deploy.targets.local import LocalTarget
from tests.fakes.data_plane import Envoy, running_envoy
from tests.fakes.place import BehindEnvoys
from tests.multiplier import multiplier


@dataclass
class LocalPlace(BehindEnvoys):
    home: Path
    supervisor: Supervisor
    envoys: tuple[Envoy, ...]
    admin: Gateways
    http: httpx.Client
    packages: dict[str, tuple[Path, str]]

    def __post_init__(self) -> None:
        self.target = self.again()

    def again(self) -> LocalTarget:
        return LocalTarget(self.home, self.supervisor, self.admin, self.envoys[0].folder)

    def instance(self, fleet: Fleet, index: int = 0) -> tuple[str, int]:
        """Name and process id of an instance."""
        states = sorted(s.name for s in self.supervisor.states().values() if s.name.startswith(fleet.id))
        return states[index], self.supervisor.states()[states[index]].pid


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlace]:
    home = tmp_path_factory.mktemp("home")
    packages = {name: multiplier(home / name, factor) for name, factor in (("v1", 2.0), ("v2", 3.0))}
    packages["broken"] = multiplier(home / "broken", 1.0, broken=True)
    supervisor = Supervisor(home)
    supervisor.launch()
    try:
        with (
            running_envoy(ConfigFolder(home / "envoy")) as first,
            running_envoy(first.folder, beside=first) as second,
            closing(Gateways({"first": first.admin(), "second": second.admin()})) as admin,
            httpx.Client(base_url=first.url, timeout=30) as http,
        ):
            yield LocalPlace(home, supervisor, (first, second), admin, http, packages)
    finally:
        supervisor.shutdown()
