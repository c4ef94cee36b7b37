"""The tables of monitoring in Seaway's store, on SQLite and PostgreSQL. Times are seconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()


def _key() -> tuple[sa.Column[str], sa.Column[str], sa.Column[float]]:
    return (
        sa.Column("endpoint", sa.String(63), nullable=False),
        sa.Column("schedule", sa.String(63), nullable=False),
        sa.Column("scheduled", sa.Float, nullable=False),
    )


WATCHES = sa.Table(
    "monitoring_schedules",
    METADATA,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("settings", sa.Text, nullable=False, default=""),
    sa.Column("effective", sa.Text, nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
)
EXECUTIONS = sa.Table(
    "monitoring_executions",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *_key(),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("status", sa.String(24), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("modified", sa.Float, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, default=0),
    sa.Column("rows", sa.BigInteger, nullable=False, default=0),
    sa.Column("data", sa.Text, nullable=False),
    sa.UniqueConstraint("endpoint", "schedule", "scheduled"),  # a window is looked at once
)
LEASES = sa.Table(
    "monitoring_leases",
    METADATA,
    *_key(),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("beaten", sa.Float, nullable=False),
    sa.PrimaryKeyConstraint("endpoint", "schedule", "scheduled"),
)
FIGURES = sa.Table(
    "monitoring_figures",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *_key(),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("begun", sa.Float, nullable=False),
    sa.Column("ended", sa.Float, nullable=False),
    sa.Column("variant", sa.String(63), nullable=False),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("dimensions", sa.Text, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("estimated", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Index("monitoring_figures_of", "endpoint", "name", "scheduled"),
    sa.Index("monitoring_figures_at", "endpoint", "schedule", "scheduled"),
)
CHAINS = sa.Table(
    "monitoring_chains",
    METADATA,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("reference", sa.String(64), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
ALERTS = sa.Table(
    "monitoring_alerts",
    METADATA,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("alarm", sa.String(63), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
HISTORY = sa.Table(
    "monitoring_alert_history",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("alarm", sa.String(63), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
ACTIONS = sa.Table(
    "monitoring_actions",
    METADATA,
    sa.Column("id", sa.String(250), primary_key=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("name", sa.String(16), nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, default=""),
    sa.Column("data", sa.Text, nullable=False),
)
CLAIMS = sa.Table(
    "monitoring_action_claims",
    METADATA,
    sa.Column("id", sa.String(250), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
)
DECISIONS = sa.Table(
    "monitoring_decisions",
    METADATA,
    sa.Column("id", sa.String(250), primary_key=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("acted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
