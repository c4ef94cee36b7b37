"""MLflow's server as Seaway runs it: one process, its ASGI app inside the guard.

Start: `uvicorn --factory registry.server:create_app --host ... --port ...` with `SEAWAY_HOME` set.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings

if TYPE_CHECKING:
    from registry.guard import Guard

SERVICE_USER = "seaway"
"""MLflow's administrator, under whose name Seaway itself works when `auth` is on."""
SECRETS = ("webhook_key", "mlflow_admin", "mlflow_flask")
"""Secrets MLflow needs: a Fernet key; with `auth` also a password of 12 or more characters, and any text."""


def environment(settings: Settings, secret: Callable[[str], str] | None = None) -> dict[str, str]:
    """Every variable that MLflow's process needs; what the surroundings set already may win.

    Args:
        settings: of the installation; PostgreSQL and `s3://` addresses are passed on.
        secret: gives a secret by name; the installation's own when not given.
    """
    secret = secret or settings.secret
    database = database_url(settings)
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifact_root,
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "false",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": secret("webhook_key"),
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    }
    if settings.auth:
        variables |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(auth_file(settings)),
            "MLFLOW_AUTH_ADMIN_USERNAME": SERVICE_USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": secret("mlflow_admin"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("mlflow_flask"),
        }
    return variables


def database_url(settings: Settings) -> str:
    """MLflow's database; SQLite in the home unless told otherwise."""
    return settings.mlflow_database_url or f"sqlite:///{settings.home / 'mlflow.db'}"


def auth_file(settings: Settings) -> Path:
    """MLflow's basic-auth configuration."""
    return settings.home / "mlflow-auth.ini"


def auth_configuration(settings: Settings) -> str:
    """Content of the basic-auth configuration: users live beside MLflow's tables; strangers may read."""
    users = settings.mlflow_database_url or f"sqlite:///{settings.home / 'mlflow-users.db'}"
    return (
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {users.replace('%', '%%')}\n"
        f"admin_username = {SERVICE_USER}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"
    )


def create_app() -> Guard:
    """MLflow, migrated and ready to serve, inside the guard. Called once, by uvicorn."""
    from registry.gestures import Gestures
    from registry.guard import Guard
    from registry.ledger import Ledger
    from registry.tables import create_tables, open_store

    settings = Settings.load()
    prepare(settings, environment(settings))
    app = _mlflow_app(settings)
    store = open_store(settings.store)
    create_tables(store)
    return Guard(
        app,
        Gestures(store),
        Ledger(store),
        auth=settings.auth,
        service=SERVICE_USER,
        clock=lambda: datetime.now(UTC),  # noqa: TID251  (the edge: a request arrives now)
    )


def prepare(settings: Settings, variables: Mapping[str, str]) -> None:
    """Set MLflow's variables, write its files and bring its database up to date."""
    private = {name: value for name, value in variables.items() if name.startswith("_")}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    os.environ.update(private)
    os.environ["_MLFLOW_SERVER_BOOT_ID"] = uuid.uuid4().hex
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    settings.home.mkdir(parents=True, exist_ok=True)
    if settings.auth:
        file = auth_file(settings)
        file.touch(mode=0o600)
        file.write_text(auth_configuration(settings))
    _migrate(database_url(settings))


def _migrate(url: str) -> None:
    """Upgrade tables that an older MLflow made; a new database gets its tables from MLflow itself."""
    import sqlalchemy
    from mlflow.server.handlers import initialize_backend_stores
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine_with_retry(url)
    with engine.connect() as connection:
        known = sqlalchemy.inspect(connection).has_table("alembic_version")
    if known and utils._get_schema_version(engine) != utils._get_latest_schema_revision():  # noqa: SLF001
        utils._upgrade_db(engine)  # noqa: SLF001  (what `mlflow db upgrade` calls)
    engine.dispose()
    initialize_backend_stores(url, url, "mlflow-artifacts:/")


def _mlflow_app(settings: Settings) -> Any:
    if settings.auth:
        from mlflow.server.auth import create_app as create_auth_app

        return create_auth_app()
    from mlflow.server.fastapi_app import app

    return app
