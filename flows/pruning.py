"""Removal of step folders and packages that nobody uses, and of decoded traffic and labels by age."""

from __future__ import annotations

from datetime import datetime

from configs.retention import Item, Retention
from deploy import packages
from flows.wiring import Wiring
from steps import hours, job, labels


def prune_steps(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Step folders of former builds; by the settings without a rule. Returns what went, or would go."""
    settings = wiring.settings
    return job.prune(settings.home / "runs", rule or settings.retention, now, dry_run=dry_run)


def prune_packages(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Packages that no endpoint, rollout or fleet refers to; arguments and result as in `prune_steps`."""
    in_use, settings = wiring.store.packages(), wiring.settings
    return packages.prune(settings.home, in_use, rule or settings.retention, now, dry_run=dry_run)


def prune_monitoring(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Decoded hours and label files that are old; arguments and result as in `prune_steps`."""
    settings = wiring.settings
    by = rule or settings.retention
    return tuple(
        item
        for remove in (hours.prune, labels.prune)
        for item in remove(settings.home, by, now, dry_run=dry_run)
    )
