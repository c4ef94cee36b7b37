"""Messages to people about rollouts, received by a real HTTP server; and whoever cannot be told stops nobody."""

from __future__ import annotations

import json
import logging
import socket
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from configs.load import ProjectError, dump, parse
from configs.settings import Settings
from deploy.plan import at_once
from deploy.release import Release, Request
from deploy.rollout import Phase, State
from deploy.stored import Rollout
from flows.approvals import Approvals
from flows.notices import notify, problems
from flows.wiring import Wiring
from registry.reconcile import Report

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore:'imghdr' is deprecated:DeprecationWarning"
    ),  # one of Apprise's plugins
]

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"
SENT = [
    (Phase.PROMOTED, "", "success", "ships version 7 was promoted on harbour"),
    (Phase.ENDED, "", "success", "the shadow of ships version 7 ended"),
    (Phase.ROLLED_BACK, "it does harm", "failure", "ships version 7 was rolled back: it does harm"),
]
QUIET = [
    ({}, "set the environment variable CHAT, then run `seaway down` and `seaway up`"),
    ({"CHAT": "  "}, "set the environment variable CHAT, then run `seaway down` and `seaway up`"),
    ({"CHAT": SECRET}, "CHAT does not hold an address that Apprise understands; correct it"),
    ({"CHAT": f"nothing://{SECRET}"}, "CHAT does not hold an address that Apprise understands; correct it"),
    ({"CHAT": f"json://:{SECRET}@"}, "CHAT does not hold an address that Apprise understands; correct it"),
    ({"CHAT": f"slack://{SECRET}"}, "CHAT does not hold an address that Apprise understands; correct it"),
]


class Receiver:
    """An HTTP server that keeps what it is sent and answers as it is told."""

    def __init__(self):
        self.seen, self.status = [], 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.seen.append((self.path, json.loads(body)))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self):
        return f"json://ann:{SECRET}@127.0.0.1:{self._server.server_port}/{SECRET}/hook"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def dead():
    """An address at which nobody listens: the port is taken, but not by a server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"json://ann:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/{SECRET}"


@pytest.fixture
def lines(caplog):
    """What Seaway's processes would write to their logs."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def rollout(phase=Phase.PROMOTED, reason="", names=("env:CHAT",), name="r1"):
    release = Release("ships", "7", "d" * 64)
    request = Request(name, "harbour", release, at_once(timedelta(minutes=1)), notify=names)
    return Rollout(request, State(phase, 0, started=NOW, since=NOW, reason=reason))


@pytest.mark.parametrize(("phase", "reason", "kind", "body"), SENT)
def test_every_end_is_told(receiver, lines, phase, reason, kind, body):
    notify(rollout(phase, reason), {"CHAT": receiver.address})
    ((path, message),) = receiver.seen
    assert path == f"/{SECRET}/hook"
    assert (message["title"], message["message"], message["type"]) == ("Seaway: endpoint harbour", body, kind)
    assert lines() == []


@pytest.mark.parametrize(("environment", "trouble"), QUIET)
def test_an_address_that_cannot_work_is_named_before_and_after(lines, environment, trouble):
    assert problems(("env:CHAT",), environment) == [f"nobody will be told through env:CHAT: {trouble}"]
    notify(rollout(), environment)
    assert lines() == [f"rollout r1: nobody was told through env:CHAT: {trouble}"]


def test_a_good_address_is_no_problem_and_nothing_is_sent(receiver, lines):
    assert problems(("env:CHAT",), {"CHAT": receiver.address}) == []
    assert problems((), {}) == []
    assert (receiver.seen, lines()) == ([], [])


def test_a_dead_receiver_is_one_line_without_the_address(lines, dead):
    notify(rollout(), {"CHAT": dead})
    (line,) = lines()
    assert line.startswith(
        "rollout r1: nobody was told through env:CHAT: the receiver cannot be reached, or "
    )
    assert line.endswith("did not take the message; check the address and the service behind it")
    assert SECRET not in line


def test_a_refusing_receiver_is_one_line_with_its_status(receiver, lines):
    receiver.status = 403
    notify(rollout(), {"CHAT": receiver.address})
    (line,) = lines()
    assert line.startswith(
        "rollout r1: nobody was told through env:CHAT: the receiver answered with status 403;"
    )
    assert SECRET not in line


def test_one_bad_address_does_not_keep_the_message_from_the_others(receiver, lines, dead):
    names = ("env:GONE", "env:DEAD", "env:CHAT")
    notify(rollout(names=names), {"DEAD": dead, "CHAT": receiver.address})
    assert len(receiver.seen) == 1
    assert [line.partition(" through ")[2].partition(":")[0] for line in lines()] == ["env", "env"]
    assert SECRET not in "".join(lines())


def test_the_controller_tells_once_whatever_becomes_of_the_message(
    receiver, lines, dead, tmp_path, monkeypatch
):
    """Three rollouts of which the middle one's people cannot be reached: all are done with after one look."""
    monkeypatch.setenv("CHAT", receiver.address)
    monkeypatch.setenv("DEAD", dead)
    wiring = Wiring(Settings(home=tmp_path))
    ended = [
        rollout(name="r1"),
        rollout(Phase.ROLLED_BACK, "it does harm", ("env:DEAD",), "r2"),
        rollout(Phase.ROLLED_BACK, "no answer", name="r3"),
    ]
    for one in ended:
        wiring.store.ask(one.request, NOW)
        with wiring.store.writing() as store:
            store.save(one, running=False)
    approvals = Approvals(wiring)
    for _look in range(2):
        approvals._announce(Report())
    assert [message["type"] for _, message in receiver.seen] == ["success", "failure"]
    assert wiring.store.unannounced() == ()
    assert len(lines()) == 1
    assert SECRET not in lines()[0]
    wiring.registry.close()
    wiring.engine.dispose()


def test_the_project_file_names_variables_and_holds_no_address(project):
    data = dump(project(production__notify=["env:CHAT"]))
    assert parse(json.dumps(data)).production.notify == ("env:CHAT",)
    data["production"]["notify"] = [f"slack://{SECRET}"]
    with pytest.raises(ProjectError, match="production.notify") as caught:
        parse(json.dumps(data))
    assert SECRET not in str(caught.value)
