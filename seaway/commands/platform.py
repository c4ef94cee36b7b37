"""`seaway up`, `down`, `status` and `logs`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from configs.settings import Settings
from seaway.console import Json, fail
from seaway.platform import Health, Platform, PlatformError, Report, follow, last_lines


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(logs)


def up(
    auth: Annotated[bool, typer.Option("--auth", help="MLflow asks for user and password.")] = False,
    as_json: Json = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for health.")] = 120.0,
) -> None:
    """Start the platform: Prefect, MLflow, Envoy, controller and worker. Repeating it changes nothing."""
    settings = Settings.load()
    if auth:
        settings = settings.model_copy(update={"auth": True})
    platform = Platform(settings)
    with _Progress(quiet=as_json) as progress:
        try:
            healths = platform.up(timeout, progress)
        except PlatformError as error:
            raise fail(str(error)) from error
    _show(platform, healths, as_json=as_json)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove the home with all data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
    as_json: Json = False,
    timeout: Annotated[float, typer.Option(help="Seconds that flow runs get to finish.")] = 60.0,
) -> None:
    """Stop the platform in order: flow runs first, the endpoints last."""
    platform = Platform(Settings.load())
    home = platform.settings.home
    if purge and not yes:
        typer.confirm(f"Remove {home} with all databases, models and logs?", abort=True)
    with _Progress(quiet=as_json) as progress:
        platform.down(timeout, progress)
    try:
        if purge:
            platform.purge()
    except PlatformError as error:
        raise fail(str(error)) from error
    if as_json:
        print(json.dumps({"home": str(home), "running": False, "purged": purge}))  # noqa: T201
    else:
        Console().print(f"Stopped{f'; {home} is removed' if purge else ''}.")


def status(as_json: Json = False) -> None:
    """Show what runs, whether it is healthy, and what memory it takes. Exit code 1 when something is not."""
    platform = Platform(Settings.load())
    healths = platform.status()
    _show(platform, healths, as_json=as_json)
    if not all(health.healthy for health in healths):
        raise typer.Exit(1)


def logs(
    program: Annotated[str, typer.Argument(help="A service or model server; all services by default.")] = "",
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines from the end.")] = 50,
) -> None:
    """Print the logs."""
    platform = Platform(Settings.load())
    names = [program] if program else [health.name for health in platform.status(memory=False) if health.pid]
    try:
        files = {name: platform.log(name) for name in names}
    except PlatformError as error:
        raise fail(str(error)) from error
    for name, file in files.items():
        for line in last_lines(file, lines):
            print(line if program else f"{name:>10} | {line}")  # noqa: T201
    if following:
        _follow(files, prefixed=not program)


def _follow(files: dict[str, Any], *, prefixed: bool) -> None:
    from threading import Thread

    def tell(name: str) -> None:
        for line in follow(files[name], lambda: True):
            print(f"{name:>10} | {line}" if prefixed else line, flush=True)  # noqa: T201

    threads = [Thread(target=tell, args=(name,), daemon=True) for name in files]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        return


def _show(platform: Platform, healths: list[Health], *, as_json: bool) -> None:
    models = platform.models()
    if as_json:
        content = {
            "home": str(platform.settings.home),
            "services": {health.name: asdict(health) for health in healths},
            "models": {health.name: asdict(health) for health in models},
        }
        print(json.dumps(content, indent=2))  # noqa: T201
        return
    table = Table(title=f"Seaway in {platform.settings.home}", title_justify="left")
    for column in ("", "state", "address", "memory", "up"):
        table.add_column(column, justify="right" if column in {"memory", "up"} else "left")
    for health in (*healths, *models):
        state = "[green]healthy[/]" if health.healthy else f"[red]{health.state.lower()}[/]"
        table.add_row(health.name, state, health.url, _mebibytes(health.memory), _ago(health))
    table.add_row("", "", "", _mebibytes(sum(health.memory for health in (*healths, *models))), "")
    Console().print(table)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count else ""


def _ago(health: Health) -> str:
    if not health.pid:
        return ""
    seconds = int(time.time() - health.since)
    return (
        f"{seconds // 3600}h{seconds // 60 % 60:02}m"
        if seconds >= 3600
        else f"{seconds // 60}m{seconds % 60:02}s"
    )


class _Progress:
    """Progress on standard error: one live table on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live: Any = None
        self._news: dict[str, str] = {}

    def __enter__(self) -> Report:
        if sys.stderr.isatty() and not self._quiet:
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)
            self._live.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def _report(self, name: str, news: str) -> None:
        self._news[name] = news
        if self._live:
            grid = Table.grid(padding=(0, 2))
            for row in self._news.items():
                grid.add_row(*row)
            self._live.update(grid)
        elif not self._quiet:
            print(f"{name}: {news}", file=sys.stderr, flush=True)  # noqa: T201
