"""Where one installation keeps its things and on which addresses it listens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from configs.retention import Retention

GATEWAYS = {"envoy-1": "envoy-1-admin", "envoy-2": "envoy-2-admin"}
"""The gateway's processes, and the name of the port of each one's admin interface."""
DEFAULT_PORTS = {
    "gateway": 8080,
    "prefect": 4200,
    "mlflow": 5000,
    "controller": 8484,
    "asynchronous": 8585,
    "internal": 8586,
    "envoy-1-admin": 9901,
    "envoy-2-admin": 9902,
}


class Settings(BaseModel):
    """One installation. Chosen at the first `seaway up`, remembered in `settings.json` in its home."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """The folder of databases, artifacts, logs and secrets."""
    host: str = "127.0.0.1"
    """Address everything binds to."""
    ports: dict[str, int] = Field(default_factory=lambda: dict(DEFAULT_PORTS))
    """Port of each service by name."""
    store_url: str = ""
    """SQLAlchemy address of Seaway's own store; SQLite in the home when empty."""
    prefect_database_url: str = ""
    """Prefect's database; SQLite in the home when empty."""
    mlflow_database_url: str = ""
    """MLflow's database; SQLite in the home when empty."""
    artifacts: str = ""
    """Artifact root: a folder or `s3://bucket/prefix`; a folder in the home when empty."""
    target: Literal["local", "docker"] = "local"
    """Where fleets run whose project does not say."""
    auth: bool = False
    """MLflow asks for user and password, so that approvals carry a proven name."""
    keep_days: int = Field(default=30, ge=1)
    """Days that step folders and packages stay when nobody uses them."""
    keep_at_least: int = Field(default=5, ge=0)
    """How many of each step, and how many packages, stay however old they are: the ones used last."""
    keep_captures_days: int = Field(default=90, ge=1)
    """Days that captured traffic and its outcomes stay in the home, and longer while a monitor needs them."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings of `SEAWAY_HOME` (default `.seaway`): the remembered file, `SEAWAY_*` variables on top."""
        environ = os.environ if environ is None else environ
        home = Path(environ.get("SEAWAY_HOME", ".seaway")).absolute()
        file = home / "settings.json"
        remembered = json.loads(file.read_text()) if file.exists() else {}
        named = {
            "store_url": "SEAWAY_STORE_URL",
            "prefect_database_url": "SEAWAY_PREFECT_DATABASE_URL",
            "mlflow_database_url": "SEAWAY_MLFLOW_DATABASE_URL",
            "artifacts": "SEAWAY_ARTIFACTS",
            "target": "SEAWAY_TARGET",
        }
        overrides = {field: environ[variable] for field, variable in named.items() if variable in environ}
        return cls.model_validate({**remembered, **overrides, "home": home})

    def save(self) -> None:
        """Remember these settings for the commands to come."""
        self.home.mkdir(parents=True, exist_ok=True)
        temporary = self.home / "settings.json.new"
        temporary.write_text(self.model_dump_json(indent=2, exclude={"home"}) + "\n")
        temporary.replace(self.home / "settings.json")

    def url(self, service: str) -> str:
        """`http://host:port` of a service in `DEFAULT_PORTS`."""
        return f"http://{self.host}:{self.ports[service]}"

    @property
    def store(self) -> str:
        """SQLAlchemy address of Seaway's store."""
        return self.store_url or f"sqlite:///{self.home / 'seaway.db'}"

    @property
    def artifact_root(self) -> str:
        """Where MLflow keeps artifacts."""
        return self.artifacts or str(self.home / "artifacts")

    @property
    def retention(self) -> Retention:
        """How long step folders and packages stay."""
        return Retention(timedelta(days=self.keep_days), self.keep_at_least)

    @property
    def captures_age(self) -> timedelta:
        """How long captured traffic stays."""
        return timedelta(days=self.keep_captures_days)

    def secret(self, name: str) -> str:
        """A secret that `seaway up` generated (mode 0600), for example `webhook`, `control`, `webhook_key`.

        Raises:
            FileNotFoundError: the platform was never started in this home.
        """
        return (self.home / "secrets" / name).read_text().strip()
