"""A real Envoy on free ports, and model servers that answer what the request tells them to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deploy import gateway
from deploy.envoy import ConfigFolder, EnvoyAdmin, command
from deploy.errors import GatewayUnreachable
from deploy.listener import AsyncPorts
from tests.ports import free_port


def wait_until(condition: Callable[[], object], seconds: float = 60, step: float = 0.02) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(step)


@dataclass
class Envoy:
    """One Envoy process over a folder of dynamic files; may be killed and started again."""

    folder: ConfigFolder
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    internal_port: int = field(default_factory=free_port)
    asynchronous: int = 1
    """Where the asynchronous service listens, if there is one."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.prepare()
        configuration = self.folder.path / f"bootstrap-{self.admin_port}.json"
        configuration.write_text(
            json.dumps(
                gateway.bootstrap(
                    admin_host="127.0.0.1",
                    admin_port=self.admin_port,
                    host="127.0.0.1",
                    port=self.port,
                    folder=self.folder.path,
                    node="test",
                    asynchronous=AsyncPorts(self.asynchronous, self.internal_port),
                )
            )
        )
        executable = shutil.which("envoy", path=str(Path(sys.executable).parent))
        assert executable
        with (self.folder.path / "envoy.log").open("ab") as log:
            self.process = subprocess.Popen(command(executable, configuration), stdout=log, stderr=log)
        with self.admin() as admin:
            wait_until(lambda: answers(admin))

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def admin(self) -> EnvoyAdmin:
        return EnvoyAdmin(f"http://127.0.0.1:{self.admin_port}")

    def resident_mib(self) -> float:
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextlib.contextmanager
def running_envoy(folder: ConfigFolder, *, beside: Envoy | None = None) -> Iterator[Envoy]:
    """An Envoy; `beside` another one it shares that one's address."""
    envoy = Envoy(folder, beside.port) if beside else Envoy(folder)
    envoy.start()
    try:
        yield envoy
    finally:
        envoy.kill()


def answers(admin: EnvoyAdmin) -> bool:
    try:
        admin.applied_routes()
    except GatewayUnreachable:
        return False
    return True


def order(*, status: int = 200, body: bytes = b"ok", **more: object) -> bytes:
    """A request body that tells the model server what to do: `sleep` seconds, `reset`, `chunked`, `headers`."""
    return json.dumps({"status": status, "body": base64.b64encode(body).decode(), **more}).encode()


@dataclass
class Upstream:
    """An HTTP/1.1 model server on its own thread; `seen` holds (head, body) of every invocation."""

    port: int = field(default_factory=free_port)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    hang: bool = False
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def start(self) -> Upstream:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(5)
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _run(self, started: threading.Event) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=1 << 26)
        started.set()
        await self._stopping.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
        )
        body = await reader.readexactly(length)
        if head.startswith("GET /ping"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return True
        self.seen.append((head, body))
        while self.hang:
            await asyncio.sleep(0.01)
        try:
            wish = json.loads(body)
        except ValueError:
            wish = {}
        if not isinstance(wish, dict):
            wish = {}
        await asyncio.sleep(wish.get("sleep", 0))
        if wish.get("reset"):
            writer.transport.abort()
            return False
        out = base64.b64decode(wish["body"]) if "body" in wish else b"ok"
        out *= wish.get("times", 1)
        extra = "".join(f"{key}: {value}\r\n" for key, value in wish.get("headers", {}).items())
        sized = "transfer-encoding: chunked" if wish.get("chunked") else f"content-length: {len(out)}"
        writer.write(
            f"HTTP/1.1 {wish.get('status', 200)} X\r\nserver: model\r\n{extra}{sized}\r\n\r\n".encode()
        )
        if wish.get("chunked"):
            for byte in out:
                writer.write(b"1\r\n" + bytes([byte]) + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif out:
            writer.write(out)
        await writer.drain()
        return True
