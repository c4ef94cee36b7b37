"""A rollout strategy is data: a tuple of steps, made from the project file and checked against the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from configs.project import Hosting
from configs.rollout import AllAtOnce, Canary, Linear, Rolling, Rollout, Shadow, Strategy
from deploy.errors import PlanRefused
from deploy.port import Capabilities

ZERO = timedelta()


@dataclass(frozen=True, slots=True)
class Step:
    """One state of the traffic and how long it must hold."""

    weight: int
    """Share of the live traffic on the new version, whole percent."""
    mirror: int = 0
    """Share of the live traffic copied to it, whole percent."""
    bake: timedelta = ZERO
    """How long the step is held and judged."""
    batched: bool = False
    """Instances follow the weight (rolling): the new fleet grows and the old one shrinks with it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order. It promotes only if its last step's weight is 100; a shadow alone just ends."""

    steps: tuple[Step, ...]
    deadline: timedelta
    """Longest time from start to decision; past it the rollout rolls back."""

    @property
    def promotes(self) -> bool:
        """The new version takes over at the end."""
        return self.steps[-1].weight == 100

    @property
    def shortest(self) -> timedelta:
        """Time the plan takes when every verdict passes at once."""
        return sum((step.bake for step in self.steps), ZERO)


def steps(strategy: tuple[Strategy, ...], termination_wait: timedelta = ZERO) -> tuple[Step, ...]:
    """Strategies add: their steps follow each other. The last step to 100 also bakes `termination_wait`."""
    made = [step for part in strategy for step in _steps(part)]
    if made[-1].weight == 100:
        last = made[-1]
        made[-1] = Step(100, last.mirror, last.bake + termination_wait, last.batched)
    return tuple(made)


def _steps(part: Strategy) -> tuple[Step, ...]:
    match part:
        case AllAtOnce():
            return (Step(100, bake=part.bake),)
        case Canary():
            weights = part.weights if part.weights[-1] == 100 else (*part.weights, 100)
            return tuple(Step(w, bake=part.bake if w < 100 else ZERO) for w in weights)
        case Linear():
            weights = (*range(part.step, 100, part.step), 100)
            return tuple(Step(w, bake=part.bake if w < 100 else ZERO) for w in weights)
        case Rolling():
            weights = (*range(part.batch, 100, part.batch), 100)
            return tuple(Step(w, bake=part.bake if w < 100 else ZERO, batched=True) for w in weights)
        case Shadow():
            return (Step(0, mirror=part.share, bake=part.bake),)


def plan(rollout: Rollout, capabilities: Capabilities, instance_count: int = 1) -> Plan:
    """Turn the project file's rollout into a plan, or refuse.

    Raises:
        PlanRefused: names every part that the target cannot do or that contradicts itself.
    """
    made = steps(rollout.strategy, rollout.termination_wait)
    if rollout.probation and made[-1].weight == 100:
        watch = Step(100 - rollout.probation.control, bake=rollout.probation.duration)
        made = (*made[:-1], watch, made[-1])
    found = Plan(made, rollout.maximum_execution_timeout)
    if problems := [*_contradictions(rollout, found), *_beyond(found, capabilities, instance_count)]:
        raise PlanRefused("the rollout cannot be carried out: " + "; ".join(problems))
    return found


def _contradictions(rollout: Rollout, found: Plan) -> list[str]:
    problems = []
    weights = [step.weight for step in found.steps]
    if any(later < earlier for earlier, later in pairwise(weights)):
        problems.append(f"weights must not fall, but the steps give {weights}")
    if weights.count(100) > 1:
        problems.append("100% may be reached only once, at the end")
    if any(isinstance(part, Canary) and 0 in part.weights for part in rollout.strategy):
        problems.append("a canary weight of 0% sees no traffic; use a shadow")
    if rollout.probation and not 0 < rollout.probation.control <= 50:
        problems.append("the control share of the probation must be 1% to 50%")
    if found.shortest >= found.deadline:
        problems.append(
            f"the bakes add up to {found.shortest}, which leaves nothing of maximum_execution_timeout "
            f"{found.deadline}"
        )
    return problems


def _beyond(found: Plan, capabilities: Capabilities, instance_count: int) -> list[str]:
    problems = []
    if any(step.mirror for step in found.steps) and not capabilities.mirror:
        problems.append("this target cannot copy traffic to a shadow")
    if any(0 < step.weight < 100 for step in found.steps) and not capabilities.weights:
        problems.append("this target cannot split traffic by weight; use all_at_once")
    if any(step.batched for step in found.steps):
        if not capabilities.rolling:
            problems.append("this target cannot replace instances in batches; use canary or linear")
        elif instance_count < 2:
            problems.append("rolling needs instance_count of at least 2")
    if instance_count > capabilities.max_instances:
        limit = capabilities.max_instances
        problems.append(f"instance_count {instance_count} is more than the {limit} this target can run")
    return problems


def check_serving(project: Hosting, target: str, kind: str = "") -> None:
    """Refuse ways to serve that a target does not have, or that serverless endpoints exclude.

    Args:
        project: the whole project.
        target: where it will run, `local` or `docker`.
        kind: what the package holds: `pipeline`, `multi-model`, or empty for one model.

    Raises:
        PlanRefused: names every part that the target cannot do.
    """
    box, production = project.container, project.production
    problems: list[str] = []
    if production.serverless:
        problems.extend(_beside_serverless(project, target, kind))
    if (count := production.serverless_instances) > 1:
        problems.append(
            f"a serverless endpoint starts model servers itself and has no {count} instances; "
            "remove production.instance_count, serverless.max_concurrency says how many there may be"
        )
    if target != "docker" and (box.image or box.memory_size_in_mb or box.cpus):
        problems.append("container limits and images need target: docker")
    if problems:
        raise PlanRefused("the endpoint cannot be served like this: " + "; ".join(problems))


_NOT_SERVERLESS = {
    Canary: "a serverless endpoint takes no canary, as it has one version at a time; take all_at_once",
    Linear: "a serverless endpoint takes no linear steps, as it has one version at a time; take all_at_once",
    Rolling: "a serverless endpoint has no instances to replace batch by batch; take all_at_once",
    Shadow: "a serverless endpoint takes no shadow test; remove shadow, or serverless",
}
_NOT_SERVERLESS_KINDS = {
    "pipeline": "a serverless endpoint serves no inference pipeline; remove serverless",
    "multi-model": "a serverless endpoint serves one model, not many; remove serverless",
}


def _beside_serverless(project: Hosting, target: str, kind: str) -> Iterator[str]:
    """What SageMaker excludes for serverless endpoints, as far as a project can ask for it.

    GPUs, networks of its own and marketplace packages have no entry in the project file; what watches an
    endpoint reads its captures.
    """
    production, box = project.production, project.container
    if target == "docker":
        yield "serverless model servers are processes; take target: local, or remove serverless"
    if box.image:
        yield "a serverless endpoint takes no image of another registry; remove container.image"
    if box.memory_size_in_mb or box.cpus:
        yield (
            "memory and processors of a serverless endpoint follow serverless.memory_size_in_mb; "
            "remove container.memory_size_in_mb and container.cpus"
        )
    if production.capture:
        yield "a serverless endpoint captures no data, so nothing can watch it; remove capture, or serverless"
    if project.monitor:
        yield "a serverless endpoint captures no data, so nothing can watch it; remove monitor, or serverless"
    if production.rollout.probation:
        yield "a serverless endpoint has one version at a time and so no probation; remove probation"
    if kind in _NOT_SERVERLESS_KINDS:
        yield _NOT_SERVERLESS_KINDS[kind]
    for part in production.rollout.strategy:
        if type(part) in _NOT_SERVERLESS:
            yield _NOT_SERVERLESS[type(part)]


def check_update(project: Hosting, *, serverless: bool) -> None:
    """Refuse what an endpoint that serves already cannot become.

    Args:
        project: the whole project.
        serverless: whether what serves now is.

    Raises:
        PlanRefused: it runs on instances and is asked to become serverless.
    """
    if project.production.serverless and not serverless:
        name = project.production.endpoint
        raise PlanRefused(
            f"endpoint {name} runs on instances and cannot become serverless; name another endpoint"
        )


def at_once(deadline: timedelta = timedelta(minutes=10)) -> Plan:
    """Everything in one step without a bake: for an endpoint that serves nothing yet, and for a restore."""
    return Plan((Step(100),), deadline)
