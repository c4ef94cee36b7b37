"""`seaway demo`."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console

from seaway.console import Json, emit, fail, show
from seaway.demo import Demo, DemoFailed, Story, home
from seaway.platform import Platform, PlatformError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="Explain each stage and wait for Enter.")] = False,
    target: Annotated[str, typer.Option("--target", help="local or docker.")] = "local",
    as_json: Json = False,
) -> None:
    """Run the main job end to end on real flights; exit code 1 when a claim of its table does not hold."""
    from flows.wiring import connect

    console = Console(stderr=as_json, highlight=False)
    began = time.monotonic()
    os.environ["SEAWAY_TARGET"] = target
    platform = Platform(home())
    os.environ["SEAWAY_HOME"] = str(platform.settings.home)
    tell = _teller(console, began)
    try:
        tell(f"starting the platform in {platform.settings.home}")
        if (platform.settings.home / "settings.json").exists():
            platform.down(10)
            platform.purge()
        healths = platform.up(120, lambda name, news: tell(f"  {name}: {news}") if "ready" in news else None)
        story = Demo(connect(platform.settings), tell, _explainer(console, slow=slow)).run()
        memory = sum(h.memory for h in (*platform.status(), *platform.models())) / 2**20
        _close(story, platform, time.monotonic() - began, memory, as_json=as_json)
    except (DemoFailed, PlatformError) as error:
        raise fail(str(error)) from error
    finally:
        if not keep:
            platform.down(10)
    if keep and not as_json:
        console.print(
            f"\nIt keeps running. Look around, then: SEAWAY_HOME={platform.settings.home} seaway down"
        )
        for health in healths:
            if health.url:
                console.print(f"  {health.name:12} {health.url}")
    if not story.true:
        raise typer.Exit(1)


def _teller(console: Console, began: float) -> Any:
    return lambda text: console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}")


def _explainer(console: Console, *, slow: bool) -> Any:
    def explain(text: str) -> None:
        if not slow:
            return
        console.print(f"\n[bold]{text}[/]")
        if sys.stdin.isatty():
            console.input("[dim]Enter to go on[/] ")

    return explain


def _close(story: Story, platform: Platform, seconds: float, memory: float, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "seconds": round(seconds, 1),
                "memory_mib": round(memory),
                "versions": story.rows,
                "claims": [{"claim": text, "holds": held} for text, held in story.claims],
                "urls": {h.name: h.url for h in platform.status(memory=False) if h.url},
            }
        )
        return
    figures = [{k: _figure(v) for k, v in row.items() if k != "why"} for row in story.rows]
    show("the three versions", figures, as_json=False)
    for row in story.rows:
        Console(highlight=False).print(f"[dim]version {row['version']}: {row['why']}[/]")
    show(
        "claims",
        [{"holds": "yes" if held else "NO", "claim": text} for text, held in story.claims],
        as_json=False,
    )
    Console(highlight=False).print(f"{seconds:.0f} s in all, {memory:.0f} MiB at the end")


def _figure(value: Any) -> Any:
    return f"{value:.1f}" if isinstance(value, float) else value
