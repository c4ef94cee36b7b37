"""`seaway models`, `approve`, `reject`, `ledger`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from seaway.console import Json, clear_errors, emit, say, show


class StageName(StrEnum):
    """Which gate an approval opens."""

    STAGING = "staging"
    PRODUCTION = "production"


Model = Annotated[str, typer.Argument(help="Registered model, for example late-arrivals.")]
Version = Annotated[str, typer.Argument(help="Its version, for example 3.")]
By = Annotated[str, typer.Option("--by", help="In whose name; the login name is recorded too.")]
Comment = Annotated[str, typer.Option("--comment", help="Why.")]
Stage = Annotated[StageName, typer.Option("--stage", help="production opens the second gate.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(models)
    app.command()(approve)
    app.command()(reject)
    app.command()(ledger)


def models(model: Annotated[str, typer.Argument()] = "", as_json: Json = False) -> None:
    """Show registered versions, where they stand and what they serve."""
    from flows.wiring import connect

    with clear_errors():
        versions = connect().registry.versions(model or None)
    rows = [
        {
            "model": v.model,
            "version": v.version,
            "status": v.tags.get("approval_status", ""),
            "aliases": ", ".join(v.aliases),
            "digest": v.tags.get("digest", "")[:12],
            "author": v.tags.get("author", ""),
            "approved by": v.tags.get("approved_by", ""),
        }
        for v in versions
    ]
    show("models", rows, as_json=as_json, empty="no versions yet; try: seaway build PROJECT")


def approve(
    model: Model,
    version: Version,
    by: By = "",
    comment: Comment = "",
    stage: Stage = StageName.STAGING,
    as_json: Json = False,
) -> None:
    """Approve a version; its deployment starts by itself.

    Example: seaway approve late-arrivals 3 --comment "better on LGA"
    """
    _decide("Approved", (model, version, stage.value), by, comment, as_json=as_json)


def reject(
    model: Model,
    version: Version,
    by: By = "",
    comment: Comment = "",
    stage: Stage = StageName.STAGING,
    as_json: Json = False,
) -> None:
    """Reject a version; a rollout of it that is under way ends."""
    _decide("Rejected", (model, version, stage.value), by, comment, as_json=as_json)


def _decide(
    wanted: Literal["Approved", "Rejected"],
    subject: tuple[str, str, Any],
    by: str,
    comment: str,
    *,
    as_json: bool,
) -> None:
    from flows.wiring import connect, operating_system_user, utc_now
    from registry.approvals import Person, Subject, decide

    with clear_errors():
        wiring = connect()
        login = operating_system_user()
        name = by or login
        said = comment if name == login else f"{comment} (by login {login})".strip()
        person = Person(name, source="cli", authenticated=name == login)
        entry = decide(wiring.desk, Subject(*subject), wanted, person, utc_now(), said)
        _wake(wiring)
    if as_json:
        emit({"id": entry.id, "kind": str(entry.kind), "actor": entry.actor, "hash": entry.hash})
    else:
        model, version, stage = subject
        say(f"{entry.kind}: {model} version {version} ({stage}), ledger entry {entry.seq} {entry.hash[:12]}")


def _wake(wiring: Any) -> None:
    """Spare the controller its wait; it finds the decision anyway."""
    import httpx

    settings = wiring.settings
    headers = {"authorization": f"Bearer {settings.secret('control')}"}
    try:
        httpx.post(f"{settings.url('controller')}/api/reconcile", headers=headers, timeout=2, trust_env=False)
    except httpx.TransportError:
        say("the controller does not run; the decision counts as soon as it does (`seaway up`)")


def ledger(
    model: Annotated[str, typer.Argument()] = "",
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the chain of hashes.")] = False,
    as_json: Json = False,
) -> None:
    """Show who decided what, when and on which evidence; --verify proves that nobody changed it."""
    from flows.wiring import connect

    with clear_errors():
        book = connect().desk.ledger
        if verify:
            count = book.verify()
            emit({"entries": count, "intact": True}) if as_json else say(f"{count} entries, chain intact")
            return
        entries = book.entries(model or None)
    if as_json:
        emit([asdict(entry) for entry in entries])
        return
    rows = [
        {
            "seq": e.seq,
            "at (UTC)": f"{e.at:%Y-%m-%d %H:%M:%S}",
            "what": str(e.kind),
            "model": f"{e.model} {e.version}",
            "stage": e.stage,
            "who": e.actor,
            "source": e.source,
            "comment": e.comment,
            "hash": e.hash[:12],
        }
        for e in entries
    ]
    show("ledger", rows, as_json=False)
