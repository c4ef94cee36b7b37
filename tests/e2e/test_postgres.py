"""The whole platform on PostgreSQL: Seaway's own store, Prefect and MLflow."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest

from deploy.rollout import Phase
from tests.e2e.harbour import Harbour
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def databases(url):
    """Empty databases for Prefect and MLflow beside the one there is."""
    place = urlsplit(url)
    with psycopg.connect(
        host=place.hostname, port=place.port, user="seaway", dbname="seaway", autocommit=True
    ) as db:
        for name in ("stack_store", "stack_prefect", "stack_mlflow"):
            db.execute(f"CREATE DATABASE {name}")
    return {
        "store_url": f"postgresql://{place.netloc}/stack_store",
        "prefect_database_url": f"postgresql+asyncpg://{place.netloc}/stack_prefect",
        "mlflow_database_url": f"postgresql+psycopg://{place.netloc}/stack_mlflow",
    }


def test_build_approve_and_deploy_on_postgres(postgres_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("postgres")
    stack = Stack(home / "home", **databases(postgres_url))
    try:
        stack.up()
        harbour = Harbour(home / "on-postgres", "on-postgres").create()
        version, _ = stack.build(harbour.write("v1"))
        rollout = stack.deploy(version)
        assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
        assert stack.wiring.engine.dialect.name == "postgresql"
        assert stack.wiring.desk.ledger.verify() >= 2
    finally:
        stack.close()
