"""Drives one real platform as its users do: flow runs over Prefect's API, approvals over MLflow's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx

from configs.settings import GATEWAYS, Settings
from deploy.envoy import EnvoyAdmin
from deploy.gateways import Gateways
from deploy.supervise import Supervisor
from flows.wiring import Wiring, connect
from registry.entry import Kind
from registry.standing import standing
from seaway.platform import Platform
from tests.ports import free_ports


def until(condition, seconds=60.0, what="the condition"):
    """Wait for a condition's first true value; fails after `seconds`, naming `what`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what() if callable(what) else what}: not within {seconds} s"
        time.sleep(0.1)  # a look may be a request to Prefect
    return value


class Stack:
    """The platform of one home and everything a test does with it."""

    def __init__(self, home: Path, **changes):
        Settings(home=home, ports=free_ports(), **changes).save()
        self.home = home
        self.platform = Platform(Settings.load({"SEAWAY_HOME": str(home)}))
        self.supervisor = Supervisor(home)
        self.http = httpx.Client(timeout=20.0, trust_env=False)

    def up(self):
        self.platform.up(timeout=150)
        if hasattr(self, "wiring"):
            self.drop()
        self.wiring: Wiring = connect(self.platform.settings)

    def drop(self):
        """Close the connections of the wiring."""
        self.wiring.trigger.close()
        self.wiring.registry.close()
        self.wiring.engine.dispose()

    def close(self):
        self.http.close()
        self.platform.down(timeout=1)
        self.drop()
        self.platform.purge()

    # ---- build, approve, deploy ---------------------------------------------------------------------------

    def build(self, project: Path, model: str = ""):
        """Run the build flow to its end; returns the version that waits, and the run's last message.

        The model is named like the project's folder unless it is given.
        """
        key = f"e2e:{uuid.uuid4()}"
        run = self.wiring.trigger.create("build/build", {"project": str(project), "author": "ann"}, key)
        state = self.ended(run)
        assert state.type == "COMPLETED", (state, self.said(run))
        return self.wiring.registry.versions(model or project.parent.name)[0], state.message

    def tag(self, version, value, seconds=20.0):
        """Set the status tag as MLflow's page does."""
        subject = {
            "name": version.model,
            "version": version.version,
            "key": "approval_status",
            "value": value,
        }
        self.mlflow("model-versions/set-tag", subject, seconds)

    def mlflow(self, path, body, seconds=20.0):
        address = f"{self.wiring.settings.url('mlflow')}/ajax-api/2.0/mlflow/{path}"
        answer = self.http.post(address, json=body, timeout=seconds)
        assert answer.status_code == 200, answer.text

    def approve(self, version):
        """A fresh approval over the tag; returns the approval's ledger entry once it is there."""
        known = {e.id for e in self.entries(version, Kind.APPROVED)}
        if self.version(version).tags["approval_status"] != "PendingManualApproval":
            self.tag(version, "PendingManualApproval")
            until(
                lambda: self.standing(version).status == "PendingManualApproval",
                20,
                "the approval is withdrawn",
            )
        self.tag(version, "Approved")
        return self.approval(version, known)

    def heard(self, version, seconds=30.0):
        """Wait until the ledger has answered every gesture; where the version stands then."""

        def answered():
            gestures = self.wiring.desk.gestures.list(version.model, version.version)
            current = self.standing(version)
            return current if current.answered >= max(g.seq for g in gestures) else None

        return until(answered, seconds, "all gestures are answered")

    def approval(self, version, known=(), seconds=30.0):
        """The approval in force that is not among the known ones."""

        def found():
            current = self.standing(version).approval
            return current if current and current.id not in known else None

        return until(found, seconds, f"an approval of {version.model} version {version.version}")

    def run_of(self, version, seconds=40.0):
        """The deploy flow's run of the approval in force."""
        entry = until(lambda: self.standing(version).triggered, seconds, "the deployment starts")
        return UUID(entry.details["flow_run_id"])

    def decided(self, approval, seconds=90.0):
        """The production rollout of an approval, once it has ended."""

        def found():
            rollout = self.production(approval)
            return rollout if rollout and rollout.state.phase.final else None

        return until(
            found, seconds, lambda: f"an end of {self.production(approval)}; {self.flow_story(approval)}"
        )

    def deploy(self, version):
        return self.decided(self.approve(version))

    def ended(self, run, seconds=120.0):
        """A flow run's last state."""
        return until(
            lambda: state if (state := self.wiring.trigger.state(run)).final else None,
            seconds,
            f"flow run {run}",
        )

    # ---- what is there ------------------------------------------------------------------------------------

    def production(self, approval):
        return self.wiring.store.rollout(f"{approval.id}:production")

    def version(self, version):
        found = self.wiring.registry.versions(version.model)
        return next(one for one in found if one.version == version.version)

    def aliases(self, model):
        return {alias: one.version for one in self.wiring.registry.versions(model) for alias in one.aliases}

    def standing(self, version, stage="staging"):
        return standing(self.wiring.desk.ledger.entries(version.model, version.version), stage)

    def entries(self, version, *kinds):
        found = self.wiring.desk.ledger.entries(version.model, version.version)
        return [entry for entry in found if not kinds or entry.kind in kinds]

    def events(self, rollout):
        return {event.kind: event for event in self.wiring.store.events(rollout=rollout.request.id)}

    def said(self, run):
        return [line.message for line in self.wiring.trigger.logs(run)]

    def runs(self, approval):
        """Flow runs that were started for an approval, oldest first."""
        entries = self.wiring.desk.ledger.entries(approval.model, approval.version)
        mine = [e for e in entries if e.kind is Kind.TRIGGERED and e.details["approval"] == approval.id]
        return [UUID(entry.details["flow_run_id"]) for entry in mine]

    def flow_story(self, approval):
        """State and last words of each of these runs."""
        return [(self.wiring.trigger.state(run), self.said(run)[-3:]) for run in self.runs(approval)]

    def invoke(self, endpoint, record):
        return self.http.post(self.wiring.invocations(endpoint), json={"instances": [record]})

    @contextmanager
    def gateways(self):
        """What both gateways count."""
        urls = {name: self.wiring.settings.url(port) for name, port in GATEWAYS.items()}
        with closing(Gateways({name: EnvoyAdmin(url) for name, url in urls.items()})) as admin:
            yield admin

    # ---- processes ----------------------------------------------------------------------------------------

    def pid(self, program):
        state = self.supervisor.states().get(program)
        return state.pid if state else 0

    def instances(self, fleet):
        """Process ids of a fleet's model servers, by program."""
        states = self.supervisor.states()
        return {n: s.pid for n, s in states.items() if n.startswith(f"{fleet.id}.") and s.pid}

    def whole(self, fleet):
        """Whether every instance of a fleet answers, as both gateways see it."""
        with self.gateways() as admin:
            hosts = admin.hosts(fleet.id)
        return len(hosts) >= fleet.instance_count and all(host.healthy for host in hosts.values())

    def flow_process(self):
        """The process of the flow run that is under way, or 0: a child of the worker's zygote."""
        zygote = self.pid("worker")
        own, *runs = sorted(children(zygote), key=started) or [0]
        return next((run for run in runs if children_of_worker(run, own)), 0)


def children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def started(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def children_of_worker(run, own):
    return run not in {0, own} and Path(f"/proc/{run}").exists()


def kill(pid):
    """kill -9; returns when the signal was sent and when the process was dead."""
    assert pid > 1
    sent = time.time()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 60, f"the end of process {pid}")
    return sent, time.time()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def now():
    return datetime.now(UTC)  # noqa: TID251 (the edge)


def seaway(stack, *words):
    """A command of the command line on the stack's platform."""
    done = subprocess.run(
        [sys.executable, "-m", "seaway.cli", *words],
        env={**os.environ, "SEAWAY_HOME": str(stack.home), "COLUMNS": "150"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def lines(folder):
    """Lines in complete files."""
    return sum(len(file.read_text().splitlines()) for file in folder.rglob("[!.]*.jsonl"))
