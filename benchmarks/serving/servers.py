"""HTTP servers for one model: who adds least to a prediction?

    python -m benchmarks.serving.servers [--seconds 1] [--rounds 6] [--json]

Every server answers `POST /invocations` by the same `Application.answer` with the same compiled flights model,
one row of JSON, one process and one thread per numeric library. Only the HTTP server and its interface differ:
Granian by RSGI (the model server as it ships), by ASGI and by WSGI; uvicorn; gunicorn's sync and gthread
workers, directly and behind nginx. `granian rsgi x2` is two processes on one port. wrk runs on the same
machine. All servers are up at once and take turns, a second each, so that a busy moment hits all alike; the
table has each server's best round. `CPU us` is processor time per request of the server's own processes, over
all rounds: it hardly depends on what else the machine does. Exit status 1 when a request failed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import load, machine, stage
from serving.__main__ import THREADS

CLIENTS = (1, 8, 64)
WARM_UP_SECONDS = 1
TARGET = "benchmarks.serving.servers"
PACKAGE = "SEAWAY_BENCHMARK_PACKAGE"


@dataclass(frozen=True, slots=True)
class Server:
    """A name for the table, and commands that serve one port; `{port}` and `{folder}` are filled in."""

    name: str
    commands: Sequence[Sequence[str]]


def servers(package: Path) -> tuple[Server, ...]:
    python = (sys.executable, "-m")
    ours = (*python, "serving", "--package", str(package), "--port", "{port}")
    granian = (
        *python,
        "granian",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--no-ws",
        "--http",
        "1",
        "--no-log",
    )
    gunicorn = (*python, "gunicorn", "--no-control-socket", "--log-level", "error", "-w", "1")
    direct, behind = ("-b", "127.0.0.1:{port}"), ("-b", "unix:{folder}/gunicorn.sock", "--umask", "0")
    sync, threads = ("-k", "sync"), ("-k", "gthread", "--threads", "4")
    proxy = ("nginx", "-c", "{folder}/nginx.conf", "-p", "{folder}", "-e", "stderr", "-g", "daemon off;")
    app = f"{TARGET}:wsgi"
    found = [
        Server("granian rsgi", [ours]),
        Server("granian rsgi x2", [ours, ours]),
        Server("granian asgi", [(*granian, "--interface", "asginl", f"{TARGET}:asgi")]),
        Server("granian wsgi", [(*granian, "--interface", "wsgi", app)]),
        Server(
            _uvicorn(), [(*python, "uvicorn", "--port", "{port}", "--log-level", "error", f"{TARGET}:asgi")]
        ),
        Server("gunicorn sync", [(*gunicorn, *sync, *direct, app)]),
        Server("gunicorn gthread", [(*gunicorn, *threads, *direct, app)]),
    ]
    if _nginx():
        found.append(Server("nginx + gunicorn sync", [(*gunicorn, *sync, *behind, app), proxy]))
        found.append(Server("nginx + gunicorn gthread", [(*gunicorn, *threads, *behind, app), proxy]))
    return tuple(found)


def _uvicorn() -> str:
    parts = [name for name in ("httptools", "uvloop") if importlib.util.find_spec(name)]
    return f"uvicorn ({', '.join(parts) or 'h11, asyncio'})"


def _nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--seconds", type=int, default=1, help="of each turn")
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        built = stage.build(Path(name))
        body = json.dumps({"instances": [built.row]}).encode()
        up = {one.name: stack.enter_context(running(one, built.package)) for one in servers(built.package)}
        for one in up.values():
            load.measure(one.url, body, 8, WARM_UP_SECONDS)
        rows = [
            {"server": name, "clients": clients, **_turn(one, body, clients, asked.seconds)}
            for clients in CLIENTS
            for _ in range(asked.rounds)
            for name, one in up.items()
        ]
    shown = [_line(name, rows) for name in up]
    result = {"machine": facts, "load_after": machine.facts()["load"], "figures": rows}
    machine.show(result, [shown], as_json=asked.json)
    print(f"load after: {result['load_after']}", file=sys.stderr)
    return int(any(row["failures"] for row in rows))


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    sessions: frozenset[int]
    """Each of its commands leads one; all its processes are in them."""

    def seconds(self) -> float:
        """Processor time that its processes have used."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = file.read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:13])) if int(fields[3]) in self.sessions else 0
        return ticks / os.sysconf("SC_CLK_TCK")


def _turn(server: Running, body: bytes, clients: int, seconds: int) -> dict[str, Any]:
    before = server.seconds()
    found = load.measure(server.url, body, clients, seconds)
    return {**asdict(found), "cpu": server.seconds() - before, "seconds": seconds}


@contextlib.contextmanager
def running(server: Server, package: Path) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        port = stage.free_port()
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        environ = {**dict.fromkeys(THREADS, "1"), PACKAGE: str(package), "PATH": path}
        _nginx_configuration(folder, port)
        sessions = set()
        for command in server.commands:
            filled = tuple(part.format(port=port, folder=folder) if "{" in part else part for part in command)
            sessions.add(stack.enter_context(stage.running(filled, folder / "log", environ)))
        url = f"http://127.0.0.1:{port}"
        stage.await_true(lambda: stage.pings(url), server.name)
        yield Running(f"{url}/invocations", frozenset(sessions))


def _nginx_configuration(folder: Path, port: int) -> None:
    from serving.environment import wanted
    from serving.serve import nginx_configuration

    text = nginx_configuration(folder, folder / "gunicorn.sock", f"127.0.0.1:{port}", wanted({}, 1))
    (folder / "nginx.conf").write_text(text)


def _line(server: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    line: dict[str, Any] = {"server": server}
    own = [row for row in rows if row["server"] == server]
    for clients in CLIENTS:
        turns = [row for row in own if row["clients"] == clients]
        best = max(turns, key=lambda row: row["per_second"])
        cpu = sum(row["cpu"] for row in turns) / sum(row["per_second"] * row["seconds"] for row in turns)
        line[f"{clients}: req/s"] = round(best["per_second"])
        line[f"{clients}: p50, p99 ms"] = f"{best['p50']:.2f}, {best['p99']:.2f}"
        line[f"{clients}: CPU us"] = round(cpu * 1e6)
    return {**line, "failed": sum(row["failures"] for row in own)}


# --- what the servers load -------------------------------------------------------------------------------


def __getattr__(name: str) -> Any:
    """`wsgi` and `asgi`, with the model of the folder in the environment."""
    from serving.app import Application, Limits
    from serving.loading import load as load_folder
    from serving.wsgi import WsgiApplication

    if name not in ("wsgi", "asgi"):
        raise AttributeError(name)
    responder = load_folder(Path(os.environ[PACKAGE]), {})
    if name == "wsgi":
        made: Any = WsgiApplication(responder, Limits())
    else:
        made = _asgi(Application(responder, Limits()))
    globals()[name] = made
    return made


def _asgi(application: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = application.answer(scope["method"], scope["path"], headers, body)
        lines = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": answer.body})

    return app


if __name__ == "__main__":
    sys.exit(main())
