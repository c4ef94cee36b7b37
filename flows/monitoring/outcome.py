"""What a run of monitoring has done."""

from __future__ import annotations

from dataclasses import dataclass

from flows.monitoring.executions import Action, Alert, Execution, Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has done."""

    executions: tuple[Execution, ...] = ()
    again: tuple[Execution, ...] = ()
    """Windows that were looked at again, because labels or captures came late."""
    changed: tuple[Alert, ...] = ()
    actions: tuple[Action, ...] = ()

    @property
    def sentence(self) -> str:
        """For people."""
        done = (*self.executions, *self.again)
        if not done:
            return "nothing was due"
        count = sum(len(one.violations) for one in done)
        failed = [one for one in done if one.status is Status.FAILED]
        parts = [f"{len(done)} executions, {count} violations"]
        if self.again:
            parts.append(f"{len(self.again)} of them again, for what came late")
        if failed:
            parts.append(f"{len(failed)} failed: {failed[0].reason}")
        parts += [f"alarm {alert.alarm} {alert.status.value}" for alert in self.changed]
        return "; ".join(parts)
