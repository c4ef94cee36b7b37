"""`seaway users`: who may log in at MLflow when the platform runs with `--auth`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

if TYPE_CHECKING:
    from registry.people import People

Name = Annotated[str, typer.Argument(help="The name people log in with, for example alice.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model whose versions this person may approve; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    users = typer.Typer(help="People who log in at MLflow (`seaway up --auth`).", no_args_is_help=True)
    users.command("add")(add)
    users.command("allow")(allow)
    users.command("list")(list_users)
    app.add_typer(users, name="users")


def add(
    name: Name,
    model: Models = None,
    from_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create a person who may log in; asks for a password of twelve or more characters.

    Example: seaway users add alice --model late-arrivals
    """
    with _people() as people:
        password = (
            sys.stdin.readline().rstrip("\n")
            if from_stdin
            else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
        people.add(name, password)
        _allow(people, name, model or [], as_json=as_json)


def allow(
    name: Name,
    model: Annotated[list[str], typer.Argument(help="Registered models, for example late-arrivals.")],
    as_json: Json = False,
) -> None:
    """Let a person approve versions of further models, as far as the project's policy agrees.

    Example: seaway users allow alice late-arrivals
    """
    with _people() as people:
        _allow(people, name, model, as_json=as_json)


def list_users(as_json: Json = False) -> None:
    """Show who may log in, and whose versions they may change.

    Example: seaway users list
    """
    with _people() as people:
        found = people.list()
    rows = [
        {"name": u.name, "administrator": "yes" if u.administrator else "", "models": ", ".join(u.models)}
        for u in found
    ]
    show("users", [asdict(u) for u in found] if as_json else rows, as_json=as_json)


def _allow(people: People, name: str, models: list[str], *, as_json: bool) -> None:
    for model in models:
        people.allow(name, model)
    if as_json:
        emit({"name": name, "models": models})
        return
    say(f"{name} may change versions of {', '.join(models)}" if models else f"{name} may log in and read")


@contextmanager
def _people() -> Iterator[People]:
    """MLflow's users, as its administrator.

    Raises:
        typer.Exit: the platform asks nobody for a name.
    """
    from flows.wiring import connect
    from registry.people import People
    from registry.rest import Rest

    with clear_errors():
        wiring = connect()
        if wiring.registry_login is None:
            raise fail("MLflow asks nobody for a name here; start the platform with `seaway up --auth`")
        with closing(Rest(wiring.settings.url("mlflow"), *wiring.registry_login)) as rest:
            yield People(rest)
