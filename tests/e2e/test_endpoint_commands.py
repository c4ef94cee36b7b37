"""`seaway rollout watch`, `rollout abort` and `rollback` as people type them, under load.

Only gateway, controller and model servers run: wishes go into the store as a flow would write them.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from configs.rollout import Judge, Rollout
from deploy.envoy import ConfigFolder
from deploy.plan import at_once, plan
from deploy.port import Capabilities
from deploy.release import Release, Request
from deploy.rollout import Phase
from seaway.cli import application
from seaway.platform import Platform
from seaway.programs import PORTS_OF
from serving.package import Input, Manifest, ParityRecord, write
from tests.e2e.load import Load
from tests.e2e.stack import Stack, now, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
RECORDS = [{"x": float(number)} for number in range(10)]
CANARY = {"type": "canary", "weights": ["20%", "50%"], "bake": "1s"}
JUDGE = Judge.model_validate_json('{"min_requests": 15, "latency_margin": 20.0, "latency_floor": "500ms"}')


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Quay(Stack):
    """Gateway, controller and model servers of one home, and the command line in its environment."""

    def __init__(self, home):
        super().__init__(home)
        needed = tuple(name for name in PORTS_OF if name not in {"prefect", "mlflow", "worker"})
        self.platform = Platform(self.platform.settings, only=needed)
        self.endpoint = "ships"
        self.digests = {}

    def seaway(self, *arguments, **more):
        """Start a command."""
        environment = {**os.environ, "SEAWAY_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "seaway.cli", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | more
        return subprocess.Popen(command, env=environment | {"COLUMNS": "160"}, **pipes)

    def run(self, *arguments, **more):
        return ended(self.seaway(*arguments, **more))

    def package(self, version, factor, demands=()):
        """A model that multiplies; what it demands besides `x`, no request brings."""
        folder = self.home / f"version-{version}"
        folder.mkdir(parents=True)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("x", *demands)
        ]
        graph = helper.make_graph(
            [helper.make_node("Mul", ["x", "factor"], ["variable"])],
            "multiply",
            inputs,
            [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])],
            [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        manifest = Manifest(
            model="ships",
            task="regression",
            runtime="onnx",
            classes=None,
            inputs=tuple(Input(name, "double", required=True) for name in ("x", *demands)),
            parity=ParityRecord(rows=1, max_abs_difference=0.0, passed=True),
        )
        (folder / "seaway.json").write_bytes(manifest.to_json())
        instance = dict.fromkeys(("x", *demands), 1.0)
        sample = {"request": {"instances": [instance]}, "predictions": [{"score": factor}]}
        (folder / "sample.json").write_text(json.dumps(sample))
        (folder / "requirements.txt").write_text("")
        archives = self.wiring.archives
        archives.mkdir(exist_ok=True)
        self.digests[version] = digest = write(folder, archives / "made.tar.gz")
        (archives / "made.tar.gz").rename(archives / f"{digest}.tar.gz")

    def ask(self, version, endpoint="", **changes):
        """Ask for a rollout; at once without changes, else by them."""
        made = at_once()
        if changes:
            text = json.dumps({"strategy": [CANARY], "maximum_execution_timeout": "5m"} | changes)
            made = plan(Rollout.model_validate_json(text), Capabilities(mirror=True, rolling=True))
        release = Release("ships", version, self.digests[version])
        name = endpoint or self.endpoint
        request = Request(str(uuid.uuid4()), name, release, made, JUDGE, requested_by="ann")
        return self.wiring.store.ask(request, now())

    def over(self, rollout):
        """A rollout once it has ended."""

        def found():
            seen = self.wiring.store.rollout(rollout.request.id)
            return seen if seen.state.phase.final else None

        return until(found, 60, lambda: f"the end of {self.wiring.store.rollout(rollout.request.id)}")

    def at(self, weight, rollout):
        """Wait until the gateway gives the new version this weight."""
        variant = rollout.request.release.variant
        until(lambda: self.weights().get(variant) == weight, 40, lambda: f"{weight}%, now {self.weights()}")

    def weights(self):
        """Percent by variant, as the gateway was told."""
        shares = ConfigFolder(self.home / "gateway").endpoints().get(self.endpoint, ())
        return {share.variant: share.weight for share in shares}

    def serving(self):
        found = self.wiring.store.endpoint(self.endpoint)
        return found.stable.version, found.previous.version if found.previous else None

    def load(self):
        return Load(self.wiring.invocations(self.endpoint), RECORDS)

    @contextmanager
    def version_1_serves(self):
        """After version 2, whatever the test before has left; with load of which nothing may be lost."""
        if self.serving() != ("1", "2"):
            for version in ("2", "1"):
                if self.serving()[0] != version:
                    self.over(self.ask(version))
        until(lambda: self.weights() == {"v1": 100}, 60, "version 1 alone")
        with self.load() as load:
            until(lambda: load.good_after(0.0), 60, "an answer")
            yield load


def ended(process):
    """What a command has printed since it was last read, and how it ended."""
    with process:
        return Done(process.wait(90), process.stdout.read(), process.stderr.read())


@pytest.fixture(scope="module")
def quay(tmp_path_factory):
    quay = Quay(tmp_path_factory.mktemp("quay") / "home")
    try:
        quay.up()
        quay.package("1", 2.0)
        quay.package("2", 3.0)
        quay.package("3", 4.0, demands=("y",))
        asked = quay.ask("1"), quay.ask("1", endpoint="single"), quay.ask("3", endpoint="never")
        quay.wiring.store.abort("never", "not today")
        ends = [quay.over(one).state.phase for one in asked]
        assert ends == [Phase.PROMOTED, Phase.PROMOTED, Phase.ROLLED_BACK]
        yield quay
    finally:
        quay.close()


# ---- watch ------------------------------------------------------------------------------------------------


def test_watch_follows_a_promotion(quay):
    """As a person, as a program and as a log file see it, all at once."""
    until(lambda: quay.weights() == {"v1": 100}, 60, "version 1 serves")
    quay.ask("2", termination_wait="1s")
    screen, terminal = pty.openpty()
    person = quay.seaway("rollout", "watch", "ships", stdout=terminal, stderr=terminal)
    os.close(terminal)
    program = quay.seaway("rollout", "watch", "ships", "--json")
    file = quay.seaway("rollout", "watch", "ships")
    first = program.stdout.readline(), file.stdout.readline()
    shown = os.read(screen, 65_536)
    with quay.load() as load:  # nothing is judged before, so that nobody misses a step
        shown += until_closed(screen)
        assert person.wait(30) == 0
        lines, text = ended(program), ended(file)
    assert load.failed() == []
    assert quay.serving() == ("2", "1")

    assert (lines.status, lines.err) == (0, "")
    seen = [json.loads(line) for line in (first[0] + lines.out).splitlines()]
    assert [one["phase"] for one in seen][-1] == "promoted"
    assert {one["phase"] for one in seen} - {"starting"} == {"baking", "promoted"}
    weights = [one["weight"] for one in seen]
    assert weights == sorted(weights)
    assert {20, 50, 100} <= set(weights)
    assert seen[-1]["verdict"] == "pass"
    assert seen[-1]["new"]["answers"] >= 30

    assert (text.status, text.err) == (0, "")
    said = (first[1] + text.out).splitlines()
    assert said[-1] == "ships version 2 was promoted on ships"
    for part in ("ships version 2 at 20% (step 1 of 3)", "ships version 2 at 50% (step 2 of 3)"):
        assert any(line.startswith(part) for line in said)

    panels = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="ignore"))
    for part in ("20% on version 2", "50% on version 2", "100% on version 2", "ships: promoted, step 3 of 3"):
        assert part in panels


def test_watch_of_a_harmful_version_ends_with_1(quay):
    with quay.version_1_serves() as load:
        rollout = quay.ask("3", strategy=[CANARY | {"bake": "60s"}])
        live = quay.run("rollout", "watch", "ships", "--json")
        after = quay.run("rollout", "watch", "ships")
        until(lambda: quay.weights() == {"v1": 100}, 60, "version 1 alone")
    assert {one.variant for one in load.failed()} == {"v3"}
    assert quay.over(rollout).state.phase is Phase.ROLLED_BACK
    last = json.loads(live.out.splitlines()[-1])
    assert (live.status, live.err) == (1, "")
    assert (last["phase"], last["weight"], last["verdict"]) == ("rolled_back", 0, "fail")
    assert "does harm" in last["reason"]
    assert (after.status, after.err) == (1, "")
    assert after.out.startswith("ships version 3 was rolled back: the new version does harm")


# ---- abort and rollback -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "weight", "changes"),
    [
        (("rollout", "abort"), 20, {"strategy": [CANARY | {"bake": "60s"}]}),
        (("rollback",), 20, {"strategy": [CANARY | {"bake": "60s"}]}),
        (("rollback", "--json"), 90, {"probation": {"duration": "60s", "control": "10%"}}),
    ],
    ids=["abort-canary", "rollback-canary", "rollback-probation"],
)
def test_a_running_rollout_ends_without_a_lost_request(quay, command, weight, changes):
    with quay.version_1_serves() as load:
        rollout = quay.ask("2", **changes)
        quay.at(weight, rollout)
        until(lambda: any(one.variant == "v2" for one in load.sent), 60, "answers of version 2")
        done = quay.run(*command, "ships", "--reason", "seen enough")
        until(lambda: quay.weights() == {"v1": 100}, 20, lambda: f"version 1 alone, not {quay.weights()}")
        restored = time.time()
        until(lambda: load.good_after(restored + 1.0), 60, "answers a second later")
    assert load.failed() == []
    assert {one.variant for one in load.sent if one.start > restored + 0.5} == {"v1"}
    assert (done.status, done.err) == (0, "")
    after = quay.over(rollout)
    assert (after.state.phase, after.state.reason) == (Phase.ROLLED_BACK, "seen enough")
    assert quay.serving()[0] == "1"
    if "--json" in command:
        told = {"rollout": rollout.request.id, "state": "rolled_back", "reason": "seen enough"}
        assert json.loads(done.out) == told
    else:
        assert done.out == "ships version 2 was rolled back: seen enough\n"


def test_rollback_of_a_promotion_and_back_again(quay):
    with quay.version_1_serves() as load:
        there = quay.run("rollback", "ships", "--reason", "complaints")
        assert quay.serving() == ("2", "1")
        until(lambda: quay.weights() == {"v2": 100}, 20, "version 2 alone")
        back = quay.run("rollback", "ships", "--json")
        assert quay.serving() == ("1", "2")
        until(lambda: quay.weights() == {"v1": 100}, 20, "version 1 alone")
    assert load.failed() == []
    assert (there.status, there.err, back.status, back.err) == (0, "", 0, "")
    assert "ships version 2" in there.out
    last, before = quay.wiring.store.rollouts("ships", last=2)
    told = {"rollout": last.request.id, "state": "promoted", "reason": last.state.reason}
    assert json.loads(back.out) == told
    assert (before.request.requested_by, before.request.release.digest) == ("complaints", quay.digests["2"])


def test_rollback_to_a_damaged_package_fails_and_changes_nothing(quay):
    archive = quay.wiring.archives / f"{quay.digests['2']}.tar.gz"
    with quay.version_1_serves() as load:
        kept = archive.read_bytes()
        archive.write_bytes(kept[:-1])
        for folder in (quay.home / "packages").glob(f"*{quay.digests['2'][:12]}*"):
            folder.rename(folder.with_name(f"away-{folder.name}"))
        done = quay.run("rollback", "ships")
        archive.write_bytes(kept)
        until(lambda: quay.weights() == {"v1": 100}, 20, "version 1 alone")
    assert (done.status, done.err) == (1, "")
    assert done.out.startswith("ships version 2 was rolled back: ")
    assert "digest" in done.out
    assert quay.serving() == ("1", "2")
    assert load.failed() == []


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("rollout watch nobody", "no rollout was ever asked for on endpoint nobody; try: seaway endpoints"),
        ("rollout abort nobody", "no rollout runs on endpoint nobody; `seaway endpoints` shows what serves"),
        ("rollback nobody", "there is no endpoint nobody; `seaway endpoints` lists what there is"),
        ("rollout abort single", "no rollout runs on endpoint single; `seaway endpoints` shows what serves"),
        ("rollback single", "endpoint single has served nothing before version 1"),
        ("rollback never", "endpoint never serves nothing, so there is nothing to return to"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(quay, monkeypatch, command, sentence):
    monkeypatch.setenv("SEAWAY_HOME", str(quay.home))
    assert said(*command.split()) == (1, "", f"seaway: {sentence}")


@pytest.mark.parametrize("command", ["rollout watch", "rollout abort", "rollback"])
def test_every_command_tells_how_to_use_it(tmp_path, monkeypatch, command):
    monkeypatch.setenv("SEAWAY_HOME", str(tmp_path))
    missing = f"there is no Seaway in {tmp_path}; start one with `seaway up`, or set SEAWAY_HOME"
    assert said(*command.split(), "ships") == (1, "", f"seaway: {missing}")
    status, text, _ = said(*command.split(), "--help")
    assert status == 0
    assert f"Example: seaway {command} late-arrivals" in text
    assert "Exit code" in text
    status, _, text = said(*command.split())
    assert status == 2
    assert "Missing argument" in text


def test_a_refusal_of_the_real_process_shows_no_traceback(quay):
    done = quay.run("rollback", "single")
    sentence = "seaway: endpoint single has served nothing before version 1\n"
    assert (done.status, done.out, done.err) == (1, "", sentence)


def said(*arguments):
    """Exit status and, in one line each, what a command prints and complains of; a crash is raised."""
    done = CliRunner().invoke(application(), arguments, catch_exceptions=False)
    return done.exit_code, " ".join(done.stdout.split()), " ".join(done.stderr.split())


def until_closed(screen):
    """What a terminal shows until its last program has ended."""
    shown = b""
    while True:
        try:
            piece = os.read(screen, 65_536)
        except OSError:  # Linux says so when nobody holds the other side any more
            piece = b""
        if not piece:
            os.close(screen)
            return shown
        shown += piece
