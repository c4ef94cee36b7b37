"""What people read of monitors: rows of tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flows.monitoring.executions import Action, Alert, Execution


def execution_rows(executions: Iterable[Execution]) -> list[dict[str, Any]]:
    """Executions of monitors."""
    return [
        {
            "scheduled (UTC)": f"{one.window.scheduled:%Y-%m-%d %H:%M}",
            "monitor": one.kind,
            "status": one.status.value,
            "version": one.version,
            "rows": one.rows,
            "violations": len(one.violations),
            "why": one.reason or "; ".join(one.notes),
        }
        for one in executions
    ]


def alarm_rows(changed: Iterable[Alert], actions: Iterable[Action]) -> list[dict[str, Any]]:
    """Alarms that changed, and what was done about them."""
    told = [(one.alarm, one.status.value, one.reason) for one in changed]
    told += [(one.alert.alarm, one.name, one.outcome) for one in actions]
    return [{"alarm": alarm, "what": what, "why": why} for alarm, what, why in told]
