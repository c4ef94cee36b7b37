"""The registry's tables in Seaway's store, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

if TYPE_CHECKING:
    from sqlalchemy import Connection

metadata = MetaData()

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", String(36), nullable=False, unique=True),
    Column("at", String(27), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model", String(256), nullable=False),
    Column("version", String(32), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", String(32), nullable=False),
    Column("comment", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("evidence", String(64), nullable=False),
    Column("policy", Text, nullable=False),
    Column("policy_hash", String(64), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Index("ledger_version", "model", "version"),
)

gestures = Table(
    "gestures",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", String(27), nullable=False),
    Column("model", String(256), nullable=False),
    Column("version", String(32), nullable=False),
    Column("value", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("authenticated", Boolean, nullable=False),
    Column("peer", String(64), nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Index("gestures_version", "model", "version"),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", String(27), nullable=False, index=True),
)

_REFUSAL = "the ledger is append-only"
_LOCK = 0x5EA3A7
"""Any number; processes that create tables at once take turns on it."""


READ = {"seaway_reads": True}
"""Execution option of connections that only read: on SQLite they take no write lock."""


def open_store(url: str) -> Engine:
    """An engine for a store: SQLite writes ahead and waits for locks, PostgreSQL speaks psycopg 3."""
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a reader that turns writer would fail instead of waiting."""
    reads = connection.get_execution_options().get("seaway_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def create_tables(engine: Engine) -> None:
    """Make the tables and the triggers that refuse changes of the ledger; repeating it changes nothing."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        _protect(connection)


def _protect(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            connection.execute(
                text(
                    f"CREATE TRIGGER IF NOT EXISTS ledger_no_{act.lower()} BEFORE {act} ON ledger "
                    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
                )
            )
        return
    connection.execute(
        text(
            "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
        )
    )
    for act, scope in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        connection.execute(
            text(
                f"CREATE OR REPLACE TRIGGER ledger_no_{act.lower()} BEFORE {act} ON ledger "
                f"FOR EACH {scope} EXECUTE FUNCTION ledger_refuse()"
            )
        )


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`
    for pragma in ("journal_mode=WAL", "busy_timeout=15000", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
