"""`seaway weights`, `concurrency` and `variants`: capacity, and several versions behind one endpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

if TYPE_CHECKING:
    from deploy.stored import Endpoint as Served
    from deploy.variants import Arrangement

PATIENCE = 90.0
"""Seconds to wait until a new variant's instances answer."""

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]
Version = Annotated[str, typer.Argument(help="An approved version of the endpoint's model, for example 3.")]
Name = Annotated[str, typer.Argument(help="Name of the variant, for example v3.")]
Count = Annotated[int, typer.Option("--instances", min=1, max=64, help="Model servers behind it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(weights)
    app.command()(concurrency)
    group = typer.Typer(help="Versions that serve beside the stable one.", no_args_is_help=True)
    group.command("list")(list_variants)
    group.command("add")(add)
    group.command("remove")(remove)
    app.add_typer(group, name="variants")


def weights(
    endpoint: Endpoint,
    pairs: Annotated[list[str], typer.Argument(help="VARIANT=WEIGHT; any numbers, shares follow.")],
    instances: Annotated[
        list[str] | None, typer.Option("--instances", help="VARIANT=COUNT; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Divide an endpoint's traffic among its variants, live. Sticky clients move only as far as they must.

    Example: seaway weights late-arrivals v2=70 v3=30 --instances v3=2
    """
    from flows.beside import weigh
    from flows.wiring import connect

    wanted = {name: _number(text, pair) for name, text, pair in map(_pair, pairs)}
    counts = {name: int(_number(text, pair)) for name, text, pair in map(_pair, instances or [])}
    with clear_errors():
        wiring = connect()
        found, arrangement = weigh(wiring, endpoint, wanted, counts)
    _tell(wiring.store, found, arrangement, as_json=as_json)


def concurrency(
    endpoint: Endpoint,
    most: Annotated[
        int | None, typer.Option("--max", min=1, max=200, help="Requests answered at a time.")
    ] = None,
    provisioned: Annotated[
        int | None, typer.Option("--provisioned", min=0, max=200, help="Model servers that always run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change the concurrency of a serverless endpoint within a second, without a cold start.

    Example: seaway concurrency late-arrivals --max 20 --provisioned 2
    """
    from dataclasses import asdict

    from flows.concurrency import change
    from flows.wiring import connect

    with clear_errors():
        limits = change(connect(), endpoint, most, provisioned)
    if as_json:
        emit({"endpoint": endpoint, **asdict(limits)})
    else:
        say(
            f"{endpoint} answers {limits.most} requests at a time; "
            f"{limits.provisioned} model servers of {limits.variant} always run"
        )


def list_variants(endpoint: Endpoint, as_json: Json = False) -> None:
    """Show the variants of an endpoint and their shares of its traffic.

    Example: seaway variants list late-arrivals
    """
    from flows.wiring import connect

    with clear_errors():
        store = connect().store
        found = store.endpoint(endpoint)
        if found is None or found.stable is None:
            raise fail(f"endpoint {endpoint} serves nothing; `seaway endpoints` lists what there is")
        _tell(store, found, store.arrangement(endpoint), as_json=as_json)


def add(
    endpoint: Endpoint,
    version: Version,
    weight: Annotated[float, typer.Option("--weight", min=0, help="Beside the others' weights.")] = 0.0,
    instances: Count = 1,
    model: Annotated[str, typer.Option("--model", help="Another model than the stable one's.")] = "",
    as_json: Json = False,
) -> None:
    """Let an approved version serve beside the stable one, for an A/B test; waits until it answers.

    Example: seaway variants add late-arrivals 3 --weight 0.25
    """
    from deploy.release import Release
    from deploy.variants import Variant
    from flows.beside import approved, put
    from flows.wiring import connect

    with clear_errors():
        wiring = connect()
        dossier = approved(wiring, model or stable_model(wiring, endpoint), version)
        wanted = Variant(Release("", "", ""), weight=weight)
        variant = put(wiring, endpoint, dossier, instances, wanted)
        await_ready(wiring, endpoint, variant)
        tell_variants(wiring, endpoint, as_json=as_json)


def remove(endpoint: Endpoint, name: Name, as_json: Json = False) -> None:
    """Take a variant away; what it is answering is finished first.

    Example: seaway variants remove late-arrivals v3
    """
    from flows.beside import take
    from flows.wiring import connect

    with clear_errors():
        wiring = connect()
        take(wiring, endpoint, name)
        tell_variants(wiring, endpoint, as_json=as_json)


def stable_model(wiring: Any, endpoint: str) -> str:
    """The model that an endpoint serves.

    Raises:
        deploy.errors.RolloutRefused: it serves nothing.
    """
    from deploy.errors import RolloutRefused

    found = wiring.store.endpoint(endpoint)
    if found is None or found.stable is None:
        raise RolloutRefused(f"endpoint {endpoint} serves nothing; `seaway endpoints` lists what there is")
    return str(found.stable.model)


def await_ready(wiring: Any, endpoint: str, variant: Any) -> None:
    """Return when a variant's instances answer; an error with their last words after `PATIENCE`."""
    fleet = variant.release.fleet(endpoint, wiring.archives)
    end = time.monotonic() + PATIENCE
    while not (seen := wiring.target.ready(fleet)).complete:
        if time.monotonic() > end:
            why = seen.message or "the controller has not started them; see `seaway status`"
            counts = f"{seen.ready} of {fleet.instance_count} instances"
            raise fail(f"variant {variant.name} has {counts} after {PATIENCE:.0f} s: {why}")
        time.sleep(0.2)


def _pair(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise fail(f"{text!r} is not VARIANT=NUMBER; for example: v2=70")
    return name, value, text


def _number(text: str, pair: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise fail(f"{pair!r} is not VARIANT=NUMBER; for example: v2=70") from None


def rows(found: Served, arrangement: Arrangement, instances: int) -> list[dict[str, Any]]:
    """The variants of an endpoint as plain data, the stable one, with its instances, first."""
    total = arrangement.weight + sum(one.weight for one in arrangement.variants)
    stable = found.stable
    if stable is None:
        return []
    first = {
        "variant": stable.variant,
        "version": stable.version,
        "role": "stable",
        "weight": arrangement.weight,
        "share": f"{100 * arrangement.weight / total:.1f}%",
        "mirror": 0,
        "instances": instances,
        "until": None,
    }
    return [
        first,
        *(
            {
                "variant": one.name,
                "version": one.release.version,
                "role": "shadow" if one.mirror else "production",
                "weight": one.weight,
                "share": f"{100 * one.weight / total:.1f}%",
                "mirror": one.mirror,
                "instances": one.release.instance_count,
                "until": f"{one.until:%Y-%m-%d %H:%M}" if one.until else None,
            }
            for one in arrangement.variants
        ),
    ]


def tell_variants(wiring: Any, endpoint: str, *, as_json: bool) -> None:
    """Show the variants of an endpoint as they are now."""
    store = wiring.store
    _tell(store, store.endpoint(endpoint), store.arrangement(endpoint), as_json=as_json)


def _tell(store: Any, found: Any, arrangement: Any, *, as_json: bool) -> None:
    listed = rows(found, arrangement, store.instances(found))
    if as_json:
        emit(listed)
        return
    show(found.name, listed, as_json=False)
    if arrangement.sticky:
        say(f"clients stick by {arrangement.sticky}")
