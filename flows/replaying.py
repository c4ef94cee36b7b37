"""What a replay does, without Prefect: captures and two registered versions in, a report out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from configs.quantity import parse_duration
from deploy.errors import PackageDamaged, RolloutRefused
from flows import comparing
from flows.dossier import kept_archive
from flows.wiring import Wiring
from monitoring.paired import compare
from registry.errors import NotFound
from registry.port import ModelVersion
from serving.capture import CAPTURE, CaptureInvalid, Place, Settings, key, parse, place
from serving.package import unpack
from steps import comparison_page, recorded
from steps.errors import DataRefused
from steps.replay import replay

ARCHIVE = "package/model.tar.gz"
REPORT, PAGE = "report.json", "report.html"
_NAME = re.compile(r"[0-9a-f-]{8,64}")


@dataclass(frozen=True, slots=True)
class Order:
    """What a replay shall do."""

    endpoint: str
    candidate: str
    """Version, for example `4`."""
    champion: str = ""
    """Version; what the endpoint serves when empty."""
    since: str = "24h"
    """How far back captured requests go."""
    sample: float = 1.0
    """Part of the events."""
    labels: str = ""
    """File with what really happened; empty for none."""
    slice_by: str = ""
    """Input whose values part the report; empty for none."""
    tolerance: float = 0.0
    most_changed: float | None = None
    """Largest share of rows that may be decided otherwise."""
    concurrency: int = 2


@dataclass(frozen=True, slots=True)
class ShadowOrder:
    """Which captured answers to compare."""

    endpoint: str
    candidate: str
    """Version of the shadow."""
    champion: str = ""
    """Version; what the endpoint serves when empty."""
    since: timedelta = timedelta(days=1)
    labels: Path | None = None
    slice_by: str = ""
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions, unpacked."""

    version: ModelVersion
    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.version.model} version {self.version.version}"

    @property
    def digest(self) -> str:
        """sha256 of the package."""
        return self.version.tags.get("digest", "")


def run(
    wiring: Wiring, order: Order, now: datetime, progress: Callable[[int], Any] = lambda _: None
) -> dict[str, Any]:
    """Replay and compare; returns the report as plain data.

    Raises:
        RolloutRefused: the endpoint serves nothing, or a duration cannot be read.
        registry.errors.NotFound: no such version.
        steps.errors.DataRefused: nothing was captured, or the labels cannot be read.
        steps.replay.ReplayFailed: a package cannot be served.
    """
    try:
        begin = now - parse_duration(order.since)
    except ValueError as error:
        raise RolloutRefused(str(error)) from error
    model, serving = _champion(wiring, order)
    champion, candidate = (side(wiring, model, number) for number in (serving, order.candidate))
    kept = captured(wiring, order.endpoint)
    span = recorded.Span(begin, now, order.sample, kept.key)
    answers = replay(
        recorded.requests(kept.captures, span),
        champion.folder,
        candidate.folder,
        concurrency=order.concurrency,
        progress=progress,
    )
    labels = recorded.read_labels(Path(order.labels)) if order.labels else None
    context = comparing.Context(order.slice_by, tuple(recorded.order_of(candidate.folder)), labels)
    found = compare(comparing.replayed_pairs(answers, context), tolerance=order.tolerance)
    if not found.pairs:
        raise DataRefused(
            f"no request was captured on endpoint {order.endpoint} within {order.since}; switch capture on "
            "in the project file, or look further back with --from"
        )
    heading = comparing.Heading(
        kind="replay",
        endpoint=order.endpoint,
        champion=champion.name,
        candidate=candidate.name,
        since=f"{begin:%Y-%m-%d %H:%M:%S} UTC",
        until=f"{now:%Y-%m-%d %H:%M:%S} UTC",
        slice_by=order.slice_by,
        digests=(champion.digest, candidate.digest),
    )
    report = comparing.document(heading, found, most_changed=order.most_changed)
    return {**report, "model": model, "sample": order.sample}


def side(wiring: Wiring, model: str, number: str) -> Side:
    """A registered version, its package verified against the digest it was registered with, and unpacked.

    Raises:
        registry.errors.NotFound: no such version.
        DataRefused: the package is not the registered one.
    """
    version = version_of(wiring, model, number)
    pinned = version.tags.get("digest", "")
    try:
        kept = kept_archive(wiring.registry, version, wiring.archives, pinned)
    except PackageDamaged as error:
        raise DataRefused(str(error)) from error
    unpacked = wiring.settings.home / "packages" / pinned
    unpack(kept, unpacked, pinned)
    for used in (kept, unpacked):
        os.utime(used)  # what was used today is not pruned
    return Side(version, unpacked)


def version_of(wiring: Wiring, model: str, number: str) -> ModelVersion:
    """A version in the registry.

    Raises:
        registry.errors.NotFound: there is none.
    """
    for version in wiring.registry.versions(model):
        if version.version == number:
            return version
    raise NotFound(f"there is no version {number} of {model}; `seaway models` lists what there is")


def shadow_report(wiring: Wiring, order: ShadowOrder, now: datetime) -> dict[str, Any]:
    """Compare what a shadow and the serving version have answered to the same events, and how these went.

    Raises:
        RolloutRefused: the endpoint serves nothing.
        steps.errors.DataRefused: captures or labels cannot be read.
    """
    model, serving = _champion(wiring, order)
    kept = captured(wiring, order.endpoint)
    span = recorded.Span(now - order.since, now, key=kept.key)
    labels = recorded.read_labels(order.labels) if order.labels else None
    ours, theirs = f"v{serving}", f"v{order.candidate}"
    found = compare(
        comparing.shadow_pairs(
            recorded.variant(kept.captures.within(ours), span),
            recorded.variant(kept.captures.within(theirs), span),
            comparing.Context(order.slice_by, inputs_of(wiring, model, serving), labels),
        ),
        outcomes=comparing.met_outcomes(
            recorded.outcomes(kept.outcomes.within(ours), span),
            recorded.outcomes(kept.outcomes.within(theirs), span),
        ),
        tolerance=order.tolerance,
    )
    heading = comparing.Heading(
        kind="shadow",
        endpoint=order.endpoint,
        champion=f"{model} version {serving}",
        candidate=f"{model} version {order.candidate}",
        since=f"{span.since:%Y-%m-%d %H:%M:%S} UTC",
        until=f"{now:%Y-%m-%d %H:%M:%S} UTC",
        slice_by=order.slice_by,
    )
    return {**comparing.document(heading, found), "model": model, "sample": 1.0}


def inputs_of(wiring: Wiring, model: str, number: str) -> tuple[str, ...]:
    """Names of a version's inputs, when its package is unpacked here."""
    pinned = version_of(wiring, model, number).tags.get("digest", "")
    return tuple(recorded.order_of(wiring.settings.home / "packages" / pinned)) if pinned else ()


def _champion(wiring: Wiring, order: Order | ShadowOrder) -> tuple[str, str]:
    """Model of the endpoint, and the version to compare with."""
    endpoint = wiring.store.endpoint(order.endpoint)
    if endpoint is None or endpoint.stable is None:
        raise RolloutRefused(
            f"endpoint {order.endpoint} serves nothing to compare with; "
            "`seaway endpoints` lists what there is"
        )
    return endpoint.stable.model, order.champion or endpoint.stable.version


def folder(home: Path, report_id: str) -> Path:
    """Where the report of a replay lies.

    Raises:
        DataRefused: the id is no UUID.
    """
    if not _NAME.fullmatch(report_id):
        raise DataRefused(f"{report_id!r} is no name of a report; give a UUID")
    return home / "replays" / report_id


def keep(report: dict[str, Any], out: Path) -> None:
    """Write the report as JSON and as a page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE).write_text(comparison_page.page(report))
    (out / REPORT).write_bytes(comparing.written(report))


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of an endpoint's traffic."""

    captures: Place
    """What went in and came out, with a part for each variant."""
    outcomes: Place
    """How requests went, in the same layout."""
    key: bytes | None = field(default=None, repr=False)
    """Opens what is encrypted at rest."""


def captured(wiring: Wiring, endpoint: str) -> Kept:
    """Where an endpoint's captures are, in a folder or in S3, by what its stable release was told.

    Raises:
        RolloutRefused: the variable with the key is not set here.
    """
    found = wiring.store.endpoint(endpoint)
    told = dict(found.stable.environment).get(CAPTURE) if found and found.stable else None
    settings = parse(told) if told else Settings(str(wiring.settings.home / "captures"))
    try:
        opens = key(settings, os.environ)
    except CaptureInvalid as error:
        raise RolloutRefused(str(error)) from error
    return Kept(
        place(settings.destination).within(endpoint), place(settings.outcomes).within(endpoint), opens
    )
