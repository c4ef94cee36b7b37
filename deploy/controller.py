"""The one process that acts. Each look: observe, decide by pure functions, save, make the world so.

Level-triggered: nothing is remembered outside the store, every effect may be repeated, and whatever a crash
left undone is done at the next look. One endpoint in trouble never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from configs.rollout import Alarm
from deploy import judge, variants
from deploy import rollout as machine
from deploy.backlogs import Backlogs, MemoryBacklogs
from deploy.counting import increase, without_unmet
from deploy.errors import DeployError, Permanent
from deploy.port import Fleet, Readiness, Share, Target, Totals
from deploy.release import Release
from deploy.rollout import Phase, Seen, State, Verdict
from deploy.scaler import Scaler
from deploy.store import Store
from deploy.stored import Endpoint, Event, Rollout
from deploy.variants import Arrangement
from monitoring.alarms import Sample, merge

log = logging.getLogger(__name__)

MEMORY = timedelta(hours=6)
"""How long samples are kept."""
REFERENCE = timedelta(minutes=5)
"""Answers of the old version just before a rollout, from which its usual latency is taken."""
CRASHES = 5
"""Crashes of the new fleet within one rollout after which it counts as broken."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one observation found: totals and increments by fleet."""

    totals: dict[str, Totals]
    samples: dict[str, Sample]


class Controller:
    """Brings every endpoint to where the store says it should be.

    Args:
        store: wishes and states.
        target: where endpoints run.
        archives: packages by digest.
        clock: only to note when an effect was complete; the time of the look when not given.
        backlogs: queues of asynchronous endpoints, by which these are scaled; none in memory when not given.
    """

    def __init__(
        self,
        store: Store,
        target: Target,
        archives: Path,
        clock: Callable[[], datetime] | None = None,
        backlogs: Backlogs | None = None,
    ) -> None:
        self._store = store
        self._target = target
        self._archives = archives
        self._clock = clock
        self._scaler = Scaler(store, target, backlogs or MemoryBacklogs())

    def tick(self, now: datetime) -> None:
        """One look at every endpoint, and at the fleets that nobody wants any more."""
        for endpoint in self._store.endpoints():
            try:
                self._look_after(endpoint, now)
            except DeployError as error:
                log.warning("endpoint %s: %s", endpoint.name, error)
            except Exception:
                log.exception("endpoint %s: unexpected failure, will look again", endpoint.name)
        for fleet in self._store.retiring():
            try:
                self._retire(fleet)
            except Exception:
                log.exception("fleet %s: cannot be stopped yet", fleet.id)

    def prune(self, now: datetime) -> None:
        """Forget what nobody looks at any more."""
        with self._store.writing() as store:
            store.prune(now - MEMORY)

    # ---- one endpoint -------------------------------------------------------------------------------------

    def _look_after(self, endpoint: Endpoint, now: datetime) -> None:
        rollout = self._store.active(endpoint.name)
        if endpoint.removed and not rollout:
            self._take_down(endpoint, now)
        elif rollout is None:
            self._hold(endpoint, now)
        else:
            self._lead(endpoint, rollout, now)

    def _hold(self, endpoint: Endpoint, now: datetime) -> None:
        """No rollout: the stable release serves everything."""
        if endpoint.stable is None:
            self._target.route(endpoint.name, ())
            return
        self._scaler.offer(endpoint.name, endpoint.stable)
        fleet = self._scaled(endpoint, endpoint.stable, now)
        self._target.start(fleet)
        arrangement = self._without_expired(endpoint, now)
        beside = {one.name: one.release.fleet(endpoint.name, self._archives) for one in arrangement.variants}
        for other in beside.values():
            self._target.start(other)
        ready = {name for name, other in beside.items() if self._target.ready(other).ready}
        ids = {name: other.id for name, other in beside.items()}
        shares = variants.split(arrangement, (fleet.id, fleet.variant), ids, ready)
        self._target.route(endpoint.name, shares, arrangement.sticky)
        look = self._observe(endpoint, now)
        with self._store.writing() as store:
            for name, sample in look.samples.items():
                store.count(name, look.totals[name], sample)
        answering = {share.fleet for share in shares if share.weight}
        self._scaler.tell(
            endpoint.name,
            endpoint.stable,
            [one for one in (fleet, *beside.values()) if one is fleet or one.id in answering],
        )

    def _scaled(self, endpoint: Endpoint, stable: Release, now: datetime) -> Fleet:
        """The stable release with as many instances as it needs now."""
        fleet = stable.fleet(endpoint.name, self._archives)
        self._scaler.decide(endpoint.name, stable, (fleet.id,), now)
        return self._scaler.sized(endpoint.name, stable).fleet(endpoint.name, self._archives)

    def _without_expired(self, endpoint: Endpoint, now: datetime) -> Arrangement:
        """End the shadow tests whose time is over; what still serves beside the stable release."""
        arrangement = self._store.arrangement(endpoint.name)
        stable = endpoint.stable.variant if endpoint.stable else ""
        for variant in variants.expired(arrangement, stable, now):
            arrangement = variants.without_variant(arrangement, variant.name)
            with self._store.writing() as store:
                store.arrange(endpoint.name, arrangement)
                if variant.name != stable:
                    store.retire(variant.release.fleet(endpoint.name, self._archives))
                data = {"variant": variant.name, "reason": "its time is over"}
                store.note(Event(now, endpoint.name, "variant_removed", data))
        return arrangement

    def _take_down(self, endpoint: Endpoint, now: datetime) -> None:
        """Nobody is let in any more, then it is forgotten; its fleets end once they have answered."""
        self._scaler.offer(endpoint.name, None)
        self._target.route(endpoint.name, ())
        if self._store.take_down(endpoint.name, self._archives, now):
            log.info("endpoint %s is removed", endpoint.name)

    def _retire(self, fleet: Fleet) -> None:
        self._target.stop(fleet)
        if self._target.ready(fleet).gone:
            with self._store.writing() as store:
                store.keep(fleet.id)

    # ---- one rollout --------------------------------------------------------------------------------------

    def _lead(self, endpoint: Endpoint, rollout: Rollout, now: datetime) -> None:
        """Make the world as the state wants it, look, decide, save, and act at once on a decision."""
        seen, look, judged, opinion = self._see(endpoint, rollout, now)
        plan, state = rollout.request.plan, rollout.state
        after = machine.advance(plan, state, seen, now)
        moved = (after.phase, after.step) != (state.phase, state.step)
        case = judge.enter_step(judged) if moved else judged
        decided = replace(rollout, state=after, case=case, opinion=opinion or rollout.opinion)
        self._save(endpoint, rollout, decided, look, now)
        if moved:
            log.info(
                "endpoint %s: %s step %d: %s", endpoint.name, after.phase.value, after.step, after.reason
            )
            self._act(endpoint, decided, now)

    def _see(
        self, endpoint: Endpoint, rollout: Rollout, now: datetime
    ) -> tuple[Seen, Look, judge.Case, judge.Opinion | None]:
        """Bring the world to the present state, then look at it. Whatever fails is a sight, not a crash."""
        empty = Look({}, {})
        try:
            self._scale(endpoint, rollout, now)
            readiness, applied = self._shape(endpoint, rollout)
            look = self._observe(endpoint, now)
        except Permanent as error:
            return Seen(False, False, abort=rollout.abort, broken=str(error)), empty, rollout.case, None
        except DeployError as error:
            trouble = Seen(False, False, Verdict.ERROR, str(error), abort=rollout.abort)
            return trouble, empty, rollout.case, None
        case, opinion = self._judge(endpoint, rollout, look, now)
        seen = Seen(
            ready=readiness.complete,
            applied=applied,
            verdict=opinion.verdict if opinion else Verdict.INCONCLUSIVE,
            reason=opinion.reason if opinion else readiness.message,
            abort=rollout.abort,
            broken=_broken(rollout.state, readiness),
        )
        return seen, look, case, opinion

    def _shape(self, endpoint: Endpoint, rollout: Rollout) -> tuple[Readiness, bool]:
        """Fleets and routes as the state wants them; idempotent.

        Returns how ready the new fleet is, and whether the traffic is as the state wants it: while a batch of
        a rolling replacement is still starting, traffic and old instances stay as they were.
        """
        plan, state = rollout.request.plan, rollout.state
        wanted = machine.wanted(plan, state)
        new = self._scaler.sized(endpoint.name, rollout.request.release, least=1)
        fleet = new.fleet(endpoint.name, self._archives, wanted.share)
        self._target.start(fleet)
        readiness = self._target.ready(fleet)
        step = machine.current(plan, state)
        waiting = bool(step and step.batched and state.step) and not readiness.complete
        shown = machine.wanted(plan, replace(state, step=state.step - 1)) if waiting else wanted
        if endpoint.stable:
            old = self._scaler.sized(endpoint.name, endpoint.stable, least=1)
            self._target.start(old.fleet(endpoint.name, self._archives, shown.stable_share))
        sticky = rollout.request.sticky
        self._target.route(endpoint.name, self._split(endpoint, rollout, shown), sticky)
        return readiness, not waiting

    def _split(self, endpoint: Endpoint, rollout: Rollout, wanted: machine.Wanted) -> tuple[Share, ...]:
        fleet = rollout.request.release.fleet(endpoint.name, self._archives)
        shares = []
        if endpoint.stable:
            old = endpoint.stable.fleet(endpoint.name, self._archives)
            shares.append(Share(old.id, old.variant, 100 - wanted.split.weight))
        if wanted.split.weight or wanted.split.mirror:
            shares.append(Share(fleet.id, fleet.variant, wanted.split.weight, wanted.split.mirror))
        return tuple(shares)

    def _scale(self, endpoint: Endpoint, rollout: Rollout, now: datetime) -> None:
        """Both versions follow the backlog, and none of them sleeps."""
        new, old = rollout.request.release, endpoint.stable
        fleets = [one.fleet(endpoint.name, self._archives) for one in (new, old) if one]
        self._scaler.decide(endpoint.name, new, [fleet.id for fleet in fleets], now, rolling=True)
        self._scaler.tell(endpoint.name, new, fleets)

    def _observe(self, endpoint: Endpoint, now: datetime) -> Look:
        totals = self._target.observe(endpoint.name)
        before = {name: self._store.counters(name) for name in totals}
        samples = {name: increase(before[name], seen, now) for name, seen in totals.items()}
        if endpoint.stable and endpoint.stable.scaling:
            samples = {name: without_unmet(sample) for name, sample in samples.items()}
        return Look({name: {**before[name], **seen} for name, seen in totals.items()}, samples)

    def _judge(
        self, endpoint: Endpoint, rollout: Rollout, look: Look, now: datetime
    ) -> tuple[judge.Case, judge.Opinion | None]:
        """Evidence and verdict of the running step; None while the new version is only starting."""
        request, plan = rollout.request, rollout.request.plan
        step = machine.current(plan, rollout.state)
        if step is None:
            return rollout.case, None
        new = request.release.fleet(endpoint.name, self._archives).id
        canary = look.samples.get(new, Sample(now))
        old = endpoint.stable.fleet(endpoint.name, self._archives).id if endpoint.stable else ""
        stable = look.samples.get(old, Sample(now))
        case = judge.hear(self._with_reference(rollout, old, now), request.judge, canary, stable)
        alarms = [(alarm, self._history(alarm, new, old, (canary, stable))) for alarm in request.alarms]
        return case, judge.conclude(case, request.judge, step, alarms, now)

    def _history(self, alarm: Alarm, new: str, old: str, latest: tuple[Sample, Sample]) -> tuple[Sample, ...]:
        """What an alarm looks at: its periods of the new version, or of both."""
        canary, stable = latest
        since = canary.at - alarm.period * alarm.evaluation_periods
        seen = (*self._store.samples(new, since), canary)
        return seen if alarm.scope == "variant" else (*seen, *self._store.samples(old, since), stable)

    def _with_reference(self, rollout: Rollout, old: str, now: datetime) -> judge.Case:
        """At the first judged look, take the old version's latency from before the rollout."""
        case = rollout.case
        if case.first or not old:
            return case
        before = [
            s.latency for s in self._store.samples(old, now - REFERENCE) if s.at <= rollout.state.started
        ]
        return replace(case, reference=merge(before))

    # ---- consequences -------------------------------------------------------------------------------------

    def _save(self, endpoint: Endpoint, before: Rollout, after: Rollout, look: Look, now: datetime) -> None:
        """State, evidence, totals, what the endpoint serves and what is to be stopped: all or nothing."""
        moved = (before.state.phase, before.state.step) != (after.state.phase, after.state.step)
        final, beside = after.state.phase.final, self._store.arrangement(endpoint.name)
        if after.state.phase is Phase.PROMOTED:  # before anybody reads that it is
            self._scaler.offer(endpoint.name, after.request.release)
        with self._store.writing() as store:
            for name, sample in look.samples.items():
                store.count(name, look.totals[name], sample)
            store.save(after, running=not final)
            store.keep(after.request.release.fleet(endpoint.name, self._archives).id)
            if moved:
                store.note(_moved(after, now))
            if after.state.phase is Phase.PROMOTED:
                store.serve(endpoint.name, after.request.release, endpoint.stable)
                if endpoint.stable:
                    store.retire(endpoint.stable.fleet(endpoint.name, self._archives))
            elif final:
                store.retire(after.request.release.fleet(endpoint.name, self._archives))
                if beside.variant(after.request.release.variant):  # it served beside, and is not wanted
                    name = after.request.release.variant
                    store.arrange(endpoint.name, variants.without_variant(beside, name))

    def _act(self, endpoint: Endpoint, rollout: Rollout, now: datetime) -> None:
        """Shift traffic at once instead of at the next look; a failure here is repaired there."""
        if rollout.state.phase.final:
            serving: Release | None = endpoint.stable
            if rollout.state.phase is Phase.PROMOTED:
                serving = rollout.request.release
            shares: tuple[Share, ...] = ()
            if serving:
                fleet = serving.fleet(endpoint.name, self._archives)
                shares = (Share(fleet.id, fleet.variant, 100),)
            self._target.route(endpoint.name, shares, rollout.request.sticky)
            if rollout.state.phase is Phase.ROLLED_BACK:
                done = self._clock() if self._clock else now
                self._store.note(Event(done, endpoint.name, "restored", {}, rollout.request.id))
        else:
            self._shape(endpoint, rollout)


def _broken(state: State, readiness: Readiness) -> str:
    if readiness.complete or readiness.crashes < CRASHES:
        return ""
    where = "while starting" if state.phase is Phase.STARTING else "in service"
    return f"the new version crashed {readiness.crashes} times {where}: {readiness.message}"


def _moved(rollout: Rollout, now: datetime) -> Event:
    wanted = machine.wanted(rollout.request.plan, rollout.state)
    data = {
        "step": rollout.state.step,
        "weight": wanted.split.weight,
        "mirror": wanted.split.mirror,
        "reason": rollout.state.reason,
        "evidence": judge.describe(rollout.case),
        "exposed": rollout.case.errors.n_c,
        "e_value": rollout.opinion.harm if rollout.opinion else None,
    }
    return Event(now, rollout.request.endpoint, rollout.state.phase.value, data, rollout.request.id)
