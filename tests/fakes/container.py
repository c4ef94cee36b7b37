"""A container behind a gateway, of a few lines: what a request's body says is what it does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

PART = 1024 * 1024


class Container(ThreadingHTTPServer):
    """Answers `POST /async/endpoints/NAME/invocations`; `with` it runs."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.gate = threading.Event()
        """A request `wait` is answered when it is set."""
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.messages: list[dict] = []
        """What was posted to `/hook`."""
        self.now = 0
        self.most = 0
        """Most requests at once."""
        self.refusals: dict[str, int] = {}
        """How often a path answers 503 before it does what it should."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Container

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        if self.path.endswith("/big/invocations"):
            self.digest(length)
            return
        body = self.rfile.read(length)
        if self.server.refusals.get(self.path, 0) > 0:
            self.server.refusals[self.path] -= 1
            self.answer(503, b'{"message": "nobody is there"}', {"x-amzn-errortype": "ServiceUnavailable"})
            return
        if self.path == "/hook":
            self.server.messages.append(json.loads(body))
            self.answer(200, b"")
            return
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            self.server.asked.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
        try:
            self.behave(body)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def behave(self, body: bytes) -> None:
        word = body.split(b" ")[0]
        if word == b"fail":
            self.answer(400, b"no such column", {"content-type": "text/plain"})
        elif word == b"break":
            self.close_connection = True
        elif word == b"half":
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif word == b"size":
            self.answer(200, b"x" * int(body.split()[1]))
        else:
            if word == b"wait":
                assert self.server.gate.wait(60)
            self.answer(200, b"answer to " + body, {"content-type": "text/csv"})

    def digest(self, length: int) -> None:
        """Read a long body, and send as much back."""
        seen = hashlib.sha256()
        left = length
        while left:
            part = self.rfile.read(min(PART, left))
            seen.update(part)
            left -= len(part)
        self.server.asked.append((self.path, {"digest": seen.hexdigest()}, b""))
        self.send_response(200)
        self.send_header("content-length", str(length))
        self.end_headers()
        for _ in range(length // PART):
            self.wfile.write(bytes(PART))

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
