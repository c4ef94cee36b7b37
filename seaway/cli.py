"""The command line: `seaway COMMAND`. Each module of `seaway/commands/` brings its own commands."""

from __future__ import annotations

import importlib
import pkgutil

import typer

from seaway import commands


def application() -> typer.Typer:
    """The command line with the commands of every module in `seaway/commands/`."""
    app = typer.Typer(
        name="seaway",
        help="From data to trusted production, on machines you own.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for module in sorted(found.name for found in pkgutil.iter_modules(commands.__path__)):
        importlib.import_module(f"{commands.__name__}.{module}").register(app)
    return app


def main() -> None:
    """Entry point of the `seaway` script."""
    application()()


if __name__ == "__main__":
    main()
