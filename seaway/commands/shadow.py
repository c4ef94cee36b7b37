"""`seaway shadow`: copies of the live traffic to a version, its answers kept and compared, never returned."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.commands.replay import Labels, Since, SliceBy, Tolerance, tell
from seaway.console import Json, clear_errors, emit, fail, say

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    shadow = typer.Typer(help="Copy live traffic to a version and compare its answers.", no_args_is_help=True)
    shadow.command("start")(start)
    shadow.command("stop")(stop)
    shadow.command("promote")(promote)
    shadow.command("report")(report)
    app.add_typer(shadow, name="shadow")


def start(
    endpoint: Endpoint,
    version: Annotated[str, typer.Argument(help="An approved version, for example 3.")],
    share: Annotated[str, typer.Option("--share", help="Percent of the live traffic.")] = "100%",
    duration: Annotated[str, typer.Option("--for", help="When it ends by itself; at most 30 days.")] = "7d",
    model: Annotated[str, typer.Option("--model", help="Another model than the stable one's.")] = "",
    as_json: Json = False,
) -> None:
    """Start a shadow test: a version gets copies of the traffic, and cannot slow or fail anything.

    Repeating it changes share and end. With `production.capture` in the project its answers are kept.

    Example: seaway shadow start late-arrivals 3 --share 50% --for 2d
    """
    from configs.quantity import parse_duration, parse_percent
    from flows import shadowing
    from flows.wiring import connect, utc_now
    from seaway.commands.variants import await_ready, stable_model, tell_variants

    try:
        lasting, percent = parse_duration(duration), parse_percent(share)
    except ValueError as error:
        raise fail(str(error)) from error
    with clear_errors():
        wiring = connect()
        subject = (model or stable_model(wiring, endpoint), version)
        variant = shadowing.start(wiring, endpoint, subject, percent, lasting, utc_now())
        await_ready(wiring, endpoint, variant)
        tell_variants(wiring, endpoint, as_json=as_json)


def stop(endpoint: Endpoint, as_json: Json = False) -> None:
    """End the shadow test; the endpoint is as it was before.

    Example: seaway shadow stop late-arrivals
    """
    from flows import beside, shadowing
    from flows.wiring import connect
    from seaway.commands.variants import tell_variants

    with clear_errors():
        wiring = connect()
        beside.take(wiring, endpoint, shadowing.running(wiring, endpoint).name)
        tell_variants(wiring, endpoint, as_json=as_json)


def promote(
    endpoint: Endpoint,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Without the steps of the project's rollout.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the shadow the production version, by its project's rollout; follow it with `rollout watch`.

    Example: seaway shadow promote late-arrivals
    """
    from flows import beside, shadowing
    from flows.artifacts import rollout_sentence
    from flows.wiring import connect, utc_now

    with clear_errors():
        wiring = connect()
        name = shadowing.running(wiring, endpoint).name
        rollout = beside.promote(wiring, endpoint, name, utc_now(), gently=not at_once)
    if as_json:
        emit({"rollout": rollout.request.id, "version": rollout.request.release.version})
    else:
        say(rollout_sentence(rollout))


def report(
    endpoint: Endpoint,
    *,
    candidate: Annotated[
        str, typer.Option("--candidate", help="Version; the latest shadow if not given.")
    ] = "",
    champion: Annotated[str, typer.Option("--champion", help="Version; what serves if not given.")] = "",
    since: Since = "24h",
    labels: Labels = None,
    slice_by: SliceBy = "",
    tolerance: Tolerance = 0.0,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the report as a page, with charts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a shadow with the version that serves, request by request: predictions, errors, latency.

    Exit code 1 when nothing could be compared, when the shadow alone fails on a request, or when by the
    labels it is worse.

    Example: seaway shadow report late-arrivals --html shadow.html
    """
    from configs.quantity import parse_duration
    from flows.replaying import ShadowOrder, shadow_report
    from flows.wiring import connect, utc_now
    from steps.comparison_page import page

    try:
        back: timedelta = parse_duration(since)
    except ValueError as error:
        raise fail(f"--from: {error}") from error
    with clear_errors():
        wiring = connect()
        order = ShadowOrder(
            endpoint=endpoint,
            candidate=candidate or _shadow(wiring, endpoint),
            champion=champion,
            since=back,
            labels=labels,
            slice_by=slice_by,
            tolerance=tolerance,
        )
        found = shadow_report(wiring, order, utc_now())
    if html:
        html.write_text(page(found))
    tell(found, html.resolve() if html else None, as_json=as_json)


def _shadow(wiring: Any, endpoint: str) -> str:
    """The version that is mirrored to, or that a rollout of the endpoint last mirrored to."""
    for variant in wiring.store.arrangement(endpoint).variants:
        if variant.mirror:
            return str(variant.release.version)
    for rollout in wiring.store.rollouts(endpoint):
        if any(step.mirror for step in rollout.request.plan.steps):
            return str(rollout.request.release.version)
    raise fail(f"endpoint {endpoint} had no shadow; name a version with --candidate")
