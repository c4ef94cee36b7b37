"""The alarm over all windows of an endpoint, carried from execution to execution.

A window is counted before its execution ends. Since it is counted under the time that it is scheduled for, an
execution that is done twice, or again because captures came late, counts it once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from flows.monitoring.kinds import BROKEN, PROFILE, Material
from flows.monitoring.windows import Window
from monitoring.findings import Finding

if TYPE_CHECKING:
    from configs.monitor import DataQuality, OverTime
    from flows.monitoring.chains import Chains
    from flows.monitoring.executions import Execution
    from monitoring.drift.over_time import Chain
    from monitoring.drift.sequence import Reference


def carried(
    chains: Chains, execution: Execution, material: Material, since: datetime, finding: Finding
) -> Finding:
    """The finding of a window with the alarm over this and all windows before it.

    Args:
        chains: what was counted so far.
        execution: of a recurring schedule.
        material: what was analysed.
        since: when watching began; who stops and starts to watch begins anew.
        finding: of data quality.
    """
    wanted, known = material.settings.data_quality, material.part(PROFILE)
    if wanted is None or wanted.over_time is None or known is None or not finding.rows:
        return finding
    try:
        return _carried(chains, execution, material, since, finding, wanted, wanted.over_time)
    except BROKEN as error:
        note = f"drift over time was not judged: {type(error).__name__}: {error}"
        return replace(finding, notes=(*finding.notes, note))


def _carried(
    chains: Chains,
    execution: Execution,
    material: Material,
    since: datetime,
    finding: Finding,
    wanted: DataQuality,
    rule: OverTime,
) -> Finding:
    from monitoring.drift import over_time, reference
    from monitoring.drift.sequence import begin
    from monitoring.profiles import Profile

    left_out = (*wanted.exclude, *rule.exclude)
    content = (material.subject.baseline / PROFILE).read_bytes()
    baseline = Profile.from_bytes(content).without(*left_out)
    against = begin(baseline, alpha=rule.alpha, tolerance=rule.tolerance, design=rule.rows_per_source)
    key = _key(content, execution.version, rule, left_out, since)
    window = execution.window

    def counted(chain: Chain) -> Chain:
        part = over_time.part(chain, window.scheduled, window.start, window.end)
        if part is None:
            return chain
        profile = material.profile_of(Window(window.scheduled, *part)).without(*left_out)
        if not profile.rows:
            return chain
        counts = reference.count(against.events, baseline, profile)
        return over_time.joined(against, chain, over_time.Link(window.scheduled, *part, counts))

    return _told(against, chains.change(execution.endpoint, key, counted), window, finding)


def _told(against: Reference, chain: Chain, window: Window, finding: Finding) -> Finding:
    from monitoring.drift import over_time

    stands = over_time.standing(against, chain, window.scheduled)
    if stands is not None:
        return over_time.told(finding, stands)
    note = "drift over time is not judged again for this window: its rows were counted long ago, or by others"
    return replace(finding, notes=(*finding.notes, note))


def _key(content: bytes, version: str, rule: OverTime, left_out: tuple[str, ...], since: datetime) -> str:
    """Whatever changes it begins a new chain."""
    said = [version, rule.model_dump_json(), sorted(set(left_out)), since.isoformat()]
    return hashlib.sha256(json.dumps(said).encode() + content).hexdigest()
