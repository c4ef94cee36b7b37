"""The main job on real flights: three versions, the third of which is rolled back by itself."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from configs.settings import Settings
from deploy.rollout import Phase
from seaway.traffic import Answer, Traffic

if TYPE_CHECKING:
    from deploy.stored import Rollout
    from flows.wiring import Wiring

MODEL, ENDPOINT = "late-arrivals", "late-arrivals"
RATE = 80.0
"""Requests a second of the replayed July."""
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights"

Tell = Callable[[str], None]


class DemoFailed(Exception):
    """A stage did not come to its end; the message says where to look."""


@dataclass(slots=True)
class Story:
    """What happened to each version, and whether the claims hold."""

    seconds: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def true(self) -> bool:
        """Every claim holds."""
        return all(held for _, held in self.claims)


class Demo:
    """Runs the stages on a started platform.

    Args:
        wiring: of the platform.
        tell: told about each stage, in words.
        explain: told why, before each stage.
    """

    def __init__(self, wiring: Wiring, tell: Tell, explain: Tell) -> None:
        self._wiring = wiring
        self._tell = tell
        self._explain = explain
        self._story = Story()

    def run(self) -> Story:
        """All stages in order.

        Raises:
            DemoFailed: a stage did not come to its end.
        """
        first = self._first()
        traffic = Traffic(self._wiring.invocations(ENDPOINT), _july(), RATE)
        traffic.start()
        try:
            second = self._second()
            third = self._third()
        finally:
            traffic.stop()
        self._close([first, second, third], traffic)
        return self._story

    def _first(self) -> Rollout:
        self._explain(
            "Version 1 is a simple model without weather. The build flow checks the data, trains, evaluates on "
            "the latest fifth of the flights and registers the version in MLflow, where it waits for a person."
        )
        version = self._build("project-v1.yaml")
        self._explain(
            "A person sets the tag approval_status to Approved in the MLflow registry (here: the same request "
            "that the page sends). A webhook wakes the controller, the ledger records the act, the deploy flow "
            "starts."
        )
        return self._deploy(version, self._approve_by_tag)

    def _second(self) -> Rollout:
        self._explain(
            "July's flights now call the endpoint, 80 a second. Version 2 knows the weather and is compared "
            "with version 1 on the same rows. It goes to staging, is tested, and then takes 10%, 50% and 100%."
        )
        return self._deploy(self._build("project.yaml"), self._approve_by_command)

    def _third(self) -> Rollout:
        self._explain(
            "Version 3 was trained on flights with complete weather only: every check and test passes. "
            "Live flights do miss reports, and only the canary can show it."
        )
        return self._deploy(self._build("project-v3.yaml"), self._approve_by_command)

    def _build(self, project: str) -> str:
        began = time.monotonic()
        self._tell(f"building {project}")
        parameters = {"project": str(EXAMPLE / project), "author": "demo"}
        run = self._wiring.trigger.create("build/build", parameters, f"demo:{uuid.uuid4()}", ["demo"])
        state, message = self._until_ended(run, 240)
        if state != "COMPLETED":
            raise DemoFailed(f"the build of {project} ended as {state}: {message}")
        version = self._wiring.registry.versions(MODEL)[0]
        self._story.seconds[f"build v{version.version}"] = time.monotonic() - began
        self._tell(f"{message} ({time.monotonic() - began:.0f} s)")
        return version.version

    def _until_ended(self, run: UUID, seconds: float) -> tuple[str, str]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self._wiring.trigger.state(run)
            if state.final:
                return state.type, state.message
            time.sleep(0.2)
        raise DemoFailed(f"{self._wiring.trigger.flow_run_url(run)} has not ended after {seconds:g} s")

    def _approve_by_tag(self, version: str) -> None:
        self._wiring.registry.annotate(MODEL, version, {"approval_status": "Approved"})

    def _approve_by_command(self, version: str) -> None:
        from flows.wiring import utc_now
        from registry.approvals import Person, Subject, decide

        subject, person = Subject(MODEL, version), Person("demo", source="cli")
        said = "the demo looked at the decision sheet"
        decide(self._wiring.desk, subject, "Approved", person, utc_now(), said)

    def _deploy(self, version: str, approve: Callable[[str], None]) -> Rollout:
        """Approve, and watch until the rollout on production is decided."""
        approve(version)
        self._tell(f"version {version} is approved")
        end, said, seen = time.monotonic() + 180, "", None
        while time.monotonic() < end:
            seen = self._production_rollout(version)
            if seen and (line := _line(seen)) != said:
                self._tell(line)
                said = line
            if seen and seen.state.phase.final:
                return seen
            self._fail_with_the_flow(version, seen)
            time.sleep(0.1)
        raise DemoFailed(
            f"the deployment of version {version} was not decided in time; see {said or 'the logs'}"
        )

    def _production_rollout(self, version: str) -> Rollout | None:
        for rollout in self._wiring.store.rollouts(ENDPOINT, last=3):
            if rollout.request.release.version == version:
                return rollout
        return None

    def _fail_with_the_flow(self, version: str, rollout: Rollout | None) -> None:
        """Without a rollout, an ended flow means that staging or its tests said no."""
        tags = self._wiring.registry.versions(MODEL)
        run = next((v.tags.get("deploy.flow_run_id") for v in tags if v.version == version), None)
        if rollout or not run:
            return
        state = self._wiring.trigger.state(UUID(run))
        if state.final and self._production_rollout(version) is None:
            raise DemoFailed(f"the deploy flow of version {version} ended: {state.message}")

    def _close(self, rollouts: list[Rollout], traffic: Traffic) -> None:
        answers = traffic.answers
        for rollout in rollouts:
            mine = [a for a in answers if a.variant == rollout.request.release.variant]
            detect, restore = self._times(rollout, mine)
            self._story.rows.append(
                {
                    "version": rollout.request.release.version,
                    "verdict": rollout.state.phase.value.replace("_", " "),
                    "why": rollout.state.reason,
                    "answers": len(mine),
                    "failed": sum(not a.good for a in mine),
                    "exposed": rollout.case.errors.n_c,
                    "detected (s)": detect,
                    "restored (s)": restore,
                }
            )
        self._judge(rollouts, traffic)

    def _times(self, rollout: Rollout, mine: list[Answer]) -> tuple[float | None, float | None]:
        """Seconds from the first traffic to the verdict, and from there to the last answer of the version."""
        if rollout.state.phase is not Phase.ROLLED_BACK:
            return None, None
        events = {e.kind: e.at for e in reversed(self._wiring.store.events(rollout=rollout.request.id))}
        verdict = rollout.state.since
        detect = (verdict - events["baking"]).total_seconds() if "baking" in events else None
        last = max((a.at + a.seconds for a in mine), default=verdict.timestamp())
        return detect, max(0.0, last - verdict.timestamp())

    def _judge(self, rollouts: list[Rollout], traffic: Traffic) -> None:
        first, second, third = rollouts
        answers, claims = traffic.answers, self._story.claims
        bad = [a for a in answers if not a.good]
        verdict = third.state.since.timestamp()
        late = [a for a in answers if a.variant == third.request.release.variant and a.at > verdict + 2]
        serving = self._wiring.store.endpoint(ENDPOINT)
        digest = serving.stable.digest if serving and serving.stable else ""
        claims += [
            ("version 1 serves", first.state.phase is Phase.PROMOTED),
            ("version 2 was promoted by canary", second.state.phase is Phase.PROMOTED),
            (
                f"no request failed on versions 1 and 2, of {len(answers):,} in all",
                all(_of(a, third) for a in bad),
            ),
            ("version 3 passed staging and all endpoint tests", third.state.phase is not Phase.STARTING),
            (
                "version 3 was rolled back by itself",
                third.state.phase is Phase.ROLLED_BACK and not third.abort,
            ),
            ("no live request reached version 3 two seconds after the verdict", not late),
            ("production serves exactly the package of version 2", digest == second.request.release.digest),
            ("the ledger's chain is intact", self._wiring.desk.ledger.verify() > 0),
        ]


def _of(answer: Any, rollout: Rollout) -> bool:
    return bool(answer.variant == rollout.request.release.variant)


def _line(rollout: Rollout) -> str:
    """Phase and weight; evidence changes too often for a line each."""
    from deploy.rollout import wanted

    version, state = rollout.request.release.version, rollout.state
    weight = wanted(rollout.request.plan, state).split.weight
    if state.phase.final:
        return f"version {version}: {state.phase.value.replace('_', ' ')} - {state.reason}"
    return f"version {version}: {state.phase.value} at {weight}%"


def _july() -> list[dict[str, Any]]:
    """July's flights as a client at the airport sends them, every 73rd so that they span the month."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        import flights  # type: ignore[import-not-found]  # the example's own module
    finally:
        sys.path.remove(str(EXAMPLE))
    return list(flights.live_requests([7], every=73))


def home() -> Settings:
    """The demo has a home of its own, new at every start."""
    settings = Settings.load()
    return Settings.load(
        {**os.environ, "SEAWAY_HOME": str(settings.home.with_name(settings.home.name + "-demo"))}
    )
