"""One run for an endpoint, without Prefect: what is due is looked at, what came late is looked at again, and
alarms follow.

It may be killed at any moment and be done twice at once: a window is claimed before it is looked at, and
held by a lease for as long as the run lives; an execution and its figures are written together, and what an
alarm asks for is written with the alarm and claimed before it is done.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from configs.monitor import Kind
from deploy.errors import DeployError
from flows.monitoring import actions, alerts, cloudwatch, guarding, paging, reports, standing
from flows.monitoring.executions import FAILURE, NO_DATA, Action, Alert, Execution, Status, Watch
from flows.monitoring.hours import Hours
from flows.monitoring.kinds import Material, analyse
from flows.monitoring.leases import BEAT, beating
from flows.monitoring.logbook import Logbook
from flows.monitoring.outcome import Outcome
from flows.monitoring.subject import Watched, subject, watched
from flows.monitoring.windows import ON_DEMAND, SCHEDULES, SETTLE, Window, due
from monitoring.findings import Finding
from registry.errors import RegistryError
from registry.errors import Temporary as RegistryTemporary
from serving.errors import ServingError
from steps.errors import StepError
from steps.errors import Temporary as StepTemporary

if TYPE_CHECKING:
    from flows.wiring import Wiring

log = logging.getLogger(__name__)

LATE = timedelta(days=1)
"""How long late captures change windows of kinds that need no labels."""
LABELLED = frozenset({"ModelQuality", "ModelBias"})
"""Kinds that look at labels."""
KNOWN = (DeployError, RegistryError, StepError, ServingError, ValueError)
"""Errors whose message says what to do."""
TEMPORARY = (RegistryTemporary, StepTemporary)
"""They end the run, which is then repeated."""

Tell = Callable[[str], None]


def silent(_news: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Run:
    """A run for one endpoint.

    Args:
        wiring: of the installation.
        logbook: what is kept.
        watched: the endpoint and its settings.
        clock: tells the time.
        flow_run: Prefect's id of the run, for people.
        tell: told what happens.
        environment: holds the addresses of people.
        holder: the run's own token on what it looks at.
        beat: time between two renewals of a lease.
    """

    wiring: Wiring
    logbook: Logbook
    watched: Watched
    clock: Callable[[], datetime]
    flow_run: str = ""
    tell: Tell = field(default=silent)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    holder: str = field(default_factory=lambda: uuid4().hex)
    beat: timedelta = BEAT

    @classmethod
    def of(cls, wiring: Wiring, endpoint: str, clock: Callable[[], datetime], **more: object) -> Run:
        """A run for an endpoint.

        Raises:
            deploy.errors.RolloutRefused: the endpoint cannot be watched, or nobody said how.
            registry.errors.RegistryError: the registry does not have, or give, what the version is.
        """
        logbook = Logbook.of(wiring.engine)
        found = watched(wiring, endpoint, logbook.history.watched(endpoint))
        return cls(wiring, logbook, found, clock, **more)  # type: ignore[arg-type]  # named fields

    @cached_property
    def _address(self) -> str:
        """Of the flow run in Prefect's interface."""
        prefect = self.wiring.settings.url("prefect") if self.flow_run else ""
        return f"{prefect}/runs/flow-run/{self.flow_run}" if prefect else ""

    @cached_property
    def hours(self) -> Hours:
        """Decoded captures of the endpoint."""
        return Hours(self.wiring, self.watched)

    # ---- the order of a run -------------------------------------------------------------------------------

    def scheduled(self) -> Outcome:
        """Everything that is due now, what came late since, alarms, and what these ask for."""
        watch = self.logbook.history.watched(self.watched.endpoint)
        if watch is None or watch.status != "Scheduled":
            return Outcome(actions=self._act())
        self._keep_settings(watch)
        now = self.clock()
        self._resend(now)
        wanted = [
            (kind, window)
            for kind in self.watched.settings.kinds
            for window in due(self.watched.settings, kind, now - SETTLE, watch.since, self._is_done(kind))
        ]
        known = self._open_for_late(now)
        self._refresh([window for _, window in wanted] + [one.window for one in known])
        fresh = [done for kind, window in wanted if (done := self._execute(kind, window, SCHEDULES[kind]))]
        again = [done for one in known if self._has_changed(one) and (done := self._again(one))]
        changed, acted = self._alarms(), self._act()
        self._guard(now)
        return Outcome(tuple(fresh), tuple(again), changed, acted)

    def _keep_settings(self, watch: Watch) -> None:
        """The caller goes by the settings that hold now, also after a rollback to a version with others."""
        effective = self.watched.settings.model_dump_json()
        if watch.effective != effective:
            self.logbook.history.watch(replace(watch, effective=effective))

    def on_demand(self, window: Window, kinds: tuple[Kind, ...] = ()) -> Outcome:
        """Look at one window now; no alarm follows from it."""
        self._refresh([window])
        wanted = kinds or self.watched.settings.kinds
        if off := [kind for kind in wanted if kind not in self.watched.settings.kinds]:
            raise ValueError(f"{', '.join(off)} is switched off in the project file; switch it on there")
        return Outcome(tuple(self._asked(kind, window) for kind in wanted))

    def _asked(self, kind: Kind, window: Window) -> Execution:
        """A window that was looked at before is looked at again."""
        schedule, now = f"{ON_DEMAND}{SCHEDULES[kind]}", self.clock()
        if done := self._execute(kind, window, schedule):
            return done
        known = self.logbook.history.execution(self.watched.endpoint, schedule, window.scheduled)
        assert known is not None  # noqa: S101 (what cannot be claimed is there)
        again = replace(known, window=window, modified=now, flow_run=self.flow_run, holder=self.holder)
        began = self.logbook.history.reopen(again, now)
        if done := self._look(began) if began else None:
            return done
        raise ValueError("another run looks at this window; see its result with `seaway monitor list`")

    def _is_done(self, kind: Kind) -> Callable[[datetime], bool]:
        history, endpoint = self.logbook.history, self.watched.endpoint

        def done(scheduled: datetime) -> bool:
            found = history.execution(endpoint, SCHEDULES[kind], scheduled)
            return found is not None and found.status.final

        return done

    def _refresh(self, windows: list[Window]) -> None:
        """Decode what was captured in these windows since the last look, and join labels."""
        if windows:
            start, end = min(one.start for one in windows), max(one.end for one in windows)
            self.hours.refresh(start, end, self.clock(), self.tell)

    # ---- one window ---------------------------------------------------------------------------------------

    def _execute(self, kind: Kind, window: Window, schedule: str) -> Execution | None:
        now = self.clock()
        wanted = Execution(
            self.watched.endpoint,
            schedule,
            kind,
            window,
            Status.PENDING,
            now,
            now,
            flow_run=self.flow_run,
            holder=self.holder,
        )
        began = self.logbook.history.claim(wanted, now)
        return self._look(began) if began else None

    def _again(self, known: Execution) -> Execution | None:
        """Look at a window again; its verdict stays when that is not possible any more."""
        wanted = replace(known, flow_run=self.flow_run, holder=self.holder)
        began = self.logbook.history.reopen(wanted, self.clock())
        if began is None:
            return None
        with self._held(began):
            finding, found, seen = self._found(began)
            if finding is None:
                self.tell(f"{known.kind} {known.window.start:%Y-%m-%d %H:%M} stays as it was: {found.reason}")
                return known
            return self._keep(began, finding, found, seen)

    def _look(self, began: Execution) -> Execution | None:
        with self._held(began):
            return self._keep(began, *self._found(began))

    @contextmanager
    def _held(self, began: Execution) -> Iterator[None]:
        """Hold a window while it is looked at, and let go of it however that ends."""
        history = self.logbook.history
        with beating(lambda: history.renew(began, self.clock()), self.beat):
            try:
                yield
            finally:
                history.leave(began)

    def _keep(
        self, began: Execution, finding: Finding | None, found: Execution, seen: Material | None
    ) -> Execution | None:
        """Keep the files, then the verdict: a verdict in the store has its files.

        None when another run has taken the window over, because this one slept for long.
        """
        if not self.logbook.history.renew(began, self.clock()):
            self._lost(began)
            return None
        out = reports.folder(self.wiring.settings.home, found)
        ended = replace(found, modified=self.clock(), report=str(out), revision=began.revision + 1)
        if self._stopping(began):
            ended = replace(ended, status=Status.STOPPED, reason="stopped by a person", violations=())
            finding = None
        ended = self._published(ended, finding, out)
        reports.write(out, ended, finding)
        paging.leave(out, ended, finding, seen, self.logbook.history, self._address)
        kept = self.logbook.history.finish(ended, finding.figures if finding else ())
        if kept is None:
            self._lost(began)
            return None
        self.tell(f"{kept.kind} {kept.window.start:%Y-%m-%d %H:%M} to {kept.window.end:%H:%M}: {_said(kept)}")
        return kept

    def _published(self, ended: Execution, finding: Finding | None, out: Path) -> Execution:
        """With a note about what could not be sent to CloudWatch, where it was to be."""
        wanted = self.watched.settings.cloudwatch
        if wanted is None or finding is None:
            return ended
        troubles = cloudwatch.publish(wanted, ended, finding.figures, out, self.clock())
        for trouble in troubles:
            self.tell(f"{ended.kind}: {trouble}")
        return replace(ended, notes=(*ended.notes, *troubles))

    def _resend(self, now: datetime) -> None:
        """What CloudWatch did not take of earlier windows."""
        if wanted := self.watched.settings.cloudwatch:
            for trouble in cloudwatch.resend(wanted, self.logbook.history, self.watched.endpoint, now):
                self.tell(f"still not sent: {trouble}")

    def _lost(self, began: Execution) -> None:
        start = f"{began.window.start:%Y-%m-%d %H:%M}"
        self.tell(f"{began.kind} {start}: another run has taken it over, so nothing of this one is kept")

    def _found(self, began: Execution) -> tuple[Finding | None, Execution, Material | None]:
        """The finding, the execution as it ended, and what was analysed."""
        variant = self.hours.main(began.window, f"v{self.watched.stable}")
        if variant is None:
            failed = replace(began, status=Status.FAILED, reason=NO_DATA, violations=(), rows=0, hours={})
            return None, failed, None
        try:
            behind = subject(self.wiring, self.watched.model, variant)
            known = replace(began, variant=variant, model=behind.model, version=behind.version)
            stretch = self.hours.stretch(variant, began.window)
            seen = self._digests(began, variant)  # before the rows: labels that come in between are new then
            material = Material(behind, stretch, self.watched.settings, self.watched.target)
            finding = self._over_time(known, material, analyse(began.kind, material))
        except TEMPORARY:
            raise
        except KNOWN as error:
            return None, _failed(replace(began, variant=variant), str(error)), None
        except Exception as error:
            log.exception("%s of %s failed", began.kind, began.endpoint)
            return None, _failed(replace(began, variant=variant), f"{type(error).__name__}: {error}"), None
        ended = replace(
            known,
            status=Status(finding.status),
            rows=finding.rows,
            violations=finding.violations,
            notes=(*finding.notes, *stretch.refused(), *self.hours.others(began.window, variant)),
            reason="",
            hours=seen,
        )
        return finding, ended, material

    def _over_time(self, known: Execution, material: Material, finding: Finding) -> Finding:
        """With the alarm over all windows, where this is one of them."""
        watch = self.logbook.history.watched(known.endpoint)
        if watch is None or known.schedule != SCHEDULES["DataQuality"]:
            return finding
        return standing.carried(self.logbook.chains, known, material, watch.since, finding)

    def _stopping(self, began: Execution) -> bool:
        known = self.logbook.history.execution(*began.key)
        return known is not None and known.status is Status.STOPPING

    # ---- what came late -----------------------------------------------------------------------------------

    def _open_for_late(self, now: datetime) -> list[Execution]:
        """Executions that labels or captures may still change."""
        return [
            one
            for kind in self.watched.settings.kinds
            for one in self.logbook.history.executions(
                self.watched.endpoint, SCHEDULES[kind], since=now - self._wait(kind), last=None
            )
            if one.status.judged or one.reason == NO_DATA
        ]

    def _wait(self, kind: Kind) -> timedelta:
        """How long something may come late."""
        settings = self.watched.settings
        if kind == "ModelQuality" and settings.model_quality:
            return settings.model_quality.label_wait
        if kind == "ModelBias" and settings.bias:
            return settings.bias.label_wait
        return LATE

    def _has_changed(self, known: Execution) -> bool:
        variant = known.variant or self.hours.main(known.window, f"v{self.watched.stable}")
        if variant is None:
            return False
        return dict(known.hours) != self._digests(known, variant)

    def _digests(self, known: Execution, variant: str) -> dict[str, str]:
        return self.hours.digests(variant, known.window, labels=known.kind in LABELLED)

    # ---- what follows -------------------------------------------------------------------------------------

    def _alarms(self) -> tuple[Alert, ...]:
        return tuple(self._changes())

    def _changes(self) -> Iterator[Alert]:
        history, endpoint = self.logbook.history, self.watched.endpoint
        for alarm in self.watched.settings.alarms:
            schedule = SCHEDULES[alarm.monitor]
            latest = history.executions(endpoint, schedule, judged=True, last=alarm.evaluation_period)
            if not latest:
                continue
            named = {
                one.window.scheduled: [point.figure for point in history.measured(one)]
                for one in latest
                if alarm.figure
            }
            before = self.logbook.alerts.alert(endpoint, alarm.name)
            counted = alerts.count(alarm, latest, named)
            became = alerts.change(before, counted, latest[0], self.clock())
            if became and self.logbook.alerts.become(before, became, alerts.actions(alarm, became)):
                self.tell(f"alarm {became.alarm} is {became.status.value}: {became.reason}")
                yield became

    def _guard(self, now: datetime) -> None:
        """Ask whether the version before was better; what cannot be asked now is asked the next time."""
        try:
            told = guarding.watch_over(self.wiring, self.watched, self.hours, now, self.environment)
        except TEMPORARY:
            raise
        except KNOWN as error:
            told = f"the quality guard could not look: {error}"
        except Exception as error:
            log.exception("the quality guard of %s failed", self.watched.endpoint)
            told = f"the quality guard failed with {type(error).__name__}: {error}"
        if told:
            self.tell(told)

    def _act(self) -> tuple[Action, ...]:
        hands = actions.Hands(self.wiring, self.watched, self.logbook.alerts, self.environment, self.holder)
        done = actions.perform(hands, self.clock())
        for action in done:
            self.tell(f"{action.name}: {action.outcome}")
        return done


def _failed(known: Execution, reason: str) -> Execution:
    return replace(known, status=Status.FAILED, reason=reason[:FAILURE], violations=(), rows=0)


def _said(execution: Execution) -> str:
    if execution.status is Status.VIOLATED:
        return f"{len(execution.violations)} violations in {execution.rows:,} rows"
    if execution.status is Status.COMPLETED:
        return f"no violations in {execution.rows:,} rows"
    return f"{execution.status.value}: {execution.reason}"
