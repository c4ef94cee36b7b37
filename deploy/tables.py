"""The tables of the store."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
ENDPOINTS = sa.Table(
    "endpoints",
    METADATA,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("stable", sa.Text),
    sa.Column("previous", sa.Text),
    sa.Column("champion", sa.Boolean, nullable=False, default=False),
    sa.Column("removed", sa.Boolean, nullable=False, default=False),
)
ROLLOUTS = sa.Table(
    "rollouts",
    METADATA,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False, unique=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("active", sa.String(63), unique=True),  # the endpoint while it runs: never two on one
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("judged", sa.Text, nullable=False),
    sa.Column("opinion", sa.Text),
    sa.Column("abort", sa.Text, nullable=False, default=""),
    sa.Column("announced", sa.Boolean, nullable=False, default=False),
)
ARRANGEMENTS = sa.Table(
    "arrangements",
    METADATA,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
SCALES = sa.Table(
    "scales",
    METADATA,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
RETIRING = sa.Table(
    "retiring_fleets",
    METADATA,
    sa.Column("fleet", sa.String(200), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("fleet", sa.String(200), primary_key=True),
    sa.Column("data", sa.Text, nullable=False),
)
SAMPLES = sa.Table(
    "samples",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("fleet", sa.String(200), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("data", sa.Text, nullable=False),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("rollout", sa.String(200), index=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
