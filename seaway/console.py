"""How commands speak: tables for people, JSON for programs, one clear sentence for errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

PIPED = 160
"""Columns of a table that goes into a file or another program."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FailOnViolation = Annotated[
    bool, typer.Option("--fail-on-violation", help="Exit 1 when a constraint is violated.")
]


def fail(message: str) -> typer.Exit:
    """Print an error and give the exit to raise."""
    Console(stderr=True, highlight=False).print(f"seaway: {message}", markup=False, style="red")
    return typer.Exit(1)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn the errors that people can do something about into one sentence."""
    from sqlalchemy.exc import OperationalError

    from configs.load import ProjectError
    from deploy.errors import DeployError
    from flows.trigger import TriggerError
    from registry.errors import RegistryError
    from steps.errors import StepError

    try:
        yield
    except (ProjectError, DeployError, TriggerError, RegistryError, StepError, FileNotFoundError) as error:
        raise fail(str(error)) from error
    except OperationalError as error:
        raise fail(f"the store does not answer: {error.orig}; check `seaway status`") from error


def emit(value: Any) -> None:
    """Print JSON."""
    print(json.dumps(value, indent=2, default=str))  # noqa: T201


def show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "nothing yet") -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        emit(list(rows))
        return
    if not rows:
        _console().print(empty)
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _console().print(table)


def say(text: str) -> None:
    """Print a line for people."""
    _console(highlight=False).print(text)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "" if value is None else str(value)


def _console(*, highlight: bool = True) -> Console:
    """As wide as the terminal; where there is none, wide enough that tables stay readable."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED
    return Console(highlight=highlight, width=width)
