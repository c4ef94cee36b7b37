"""What alarms ask for, done once each: people are told, a version is trained, the one before restored.

An action is claimed in the store before it is done, so that of runs that overlap one does it. A run that
dies between claim and outcome leaves an action of which nobody knows whether it was done. A later run does it
again: a rollback and a build have the action's id, and asking for them twice gives the first one; a message
says that it may have been sent before, since an alarm that nobody hears of is worse than one told twice.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deploy.errors import DeployError, RolloutRefused
from deploy.release import RESTORE
from flows.monitoring import rollback
from flows.monitoring.alerting import Alerts
from flows.monitoring.executions import Action, AlertStatus
from flows.monitoring.subject import Watched
from flows.notices import Message, tell
from flows.trigger import TriggerError
from registry.errors import Temporary as RegistryTemporary

if TYPE_CHECKING:
    from flows.wiring import Wiring

log = logging.getLogger(__name__)

TEMPORARY = (DeployError, RegistryTemporary, TriggerError)
"""Errors after which an action is tried again the next time."""
ATTEMPTS = 3
"""An action over which so many runs have died is not tried again."""
RETRAINING = "flows.monitoring.retraining"
"""Decides, in `decide(wiring, watched, alert, now) -> str`, whether a new version is worth training."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What actions are done with."""

    wiring: Wiring
    watched: Watched
    alerts: Alerts
    environment: Mapping[str, str]
    """Holds the addresses of people."""
    holder: str = ""
    """The run's own token on what it claims."""


def perform(hands: Hands, now: datetime) -> tuple[Action, ...]:
    """Do what is still to be done for an endpoint and nobody else does; returns it with its outcomes.

    An action that fails in a way that may pass is tried again the next time.
    """
    done = []
    for action in hands.alerts.pending(hands.watched.endpoint):
        if not (attempt := hands.alerts.claim(action, hands.holder, now)):
            continue
        try:
            outcome = _attempted(hands, action, attempt, now)
        except TEMPORARY as error:
            log.warning("%s: %s; it will be tried again", action.id, error)
            hands.alerts.release(action, hands.holder)
            continue
        except Exception as error:
            log.exception("%s failed", action.id)
            outcome = f"failed with {type(error).__name__}: {error}"
        hands.alerts.done(action, outcome)
        done.append(Action(action.id, action.alert, action.name, outcome))
    return tuple(done)


def _attempted(hands: Hands, action: Action, attempt: int, now: datetime) -> str:
    if attempt > ATTEMPTS:
        return f"failed {ATTEMPTS} times: each run that tried it died; look at the logs of its flow runs"
    if action.name == "notify":
        return _notify(hands, action, again=attempt > 1)
    return _DO[action.name](hands, action, now)


def message(action: Action, *, again: bool = False) -> Message:
    """What people are told about an alarm; `again`: it may have been told before."""
    alert = action.alert
    begun = alert.status is AlertStatus.IN_ALERT
    where = f"Seaway: endpoint {alert.endpoint}"
    state = "is in alert" if begun else "is over"
    perhaps = " (you may have been told before: the run that first sent this has died)" if again else ""
    said = f"alarm {alert.alarm} {state} on version {alert.version}: {alert.reason}{perhaps}"
    return Message(where, said, not begun)


def _notify(hands: Hands, action: Action, *, again: bool) -> str:
    if not hands.watched.notify:
        return "nobody is named in notify"
    troubles = tell(hands.watched.notify, message(action, again=again), hands.environment)
    told = len(hands.watched.notify) - len(troubles)
    repeated = ["perhaps for the second time"] if again else []
    return "; ".join([f"told {told} of {len(hands.watched.notify)} addresses", *repeated, *troubles])


def _roll_back(hands: Hands, action: Action, now: datetime) -> str:
    store, alert = hands.wiring.store, action.alert
    endpoint = store.endpoint(alert.endpoint)
    known = store.rollout(f"{action.id}{RESTORE}")
    if known is None:
        rollouts = store.rollouts(alert.endpoint, last=20)
        if refused := rollback.refusal(endpoint, store.active(alert.endpoint), rollouts, alert.version):
            return f"not rolled back: {refused}"
        assert endpoint is not None  # noqa: S101 (refusal() has looked)
        why = f"alarm {alert.alarm}: {alert.reason}"
        try:
            known = store.ask(rollback.wish(action.id, endpoint, why, hands.watched.notify), now)
        except RolloutRefused as refusal:
            return f"not rolled back: {refusal}"
    return f"version {known.request.release.version} is restored by rollout {known.request.id}"


def _retrain(hands: Hands, action: Action, now: datetime) -> str:
    try:
        decide: Callable[..., Any] = importlib.import_module(RETRAINING).decide
    except ModuleNotFoundError:
        return "not retrained: this installation cannot decide about it; run `seaway build PROJECT`"
    return str(decide(hands.wiring, hands.watched, action.alert, now))


_DO: dict[str, Callable[[Hands, Action, datetime], str]] = {
    "rollback": _roll_back,
    "retrain": _retrain,
}
