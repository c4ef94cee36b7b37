"""A model server as somebody brings it: what it does is said by its input, what it saw is in `SEEN`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SEEN = os.environ.get("SEEN", os.devnull)
LOCK = threading.Lock()
FLIGHT = [0]


def answer(body: bytes, kind: str) -> tuple[int, bytes]:
    if b"refuse" in body:
        return 400, b"I do not like this"
    if b"fail" in body:
        return 500, b"broken inside"
    if b"once" in body and not (marker := Path(f"{SEEN}.once")).exists():
        marker.touch()
        return 503, b"try again"
    if b"crash" in body and (b"always" in body or not Path(f"{SEEN}.crash").exists()):
        Path(f"{SEEN}.crash").touch()
        os._exit(3)
    if b"wait" in body:
        while not Path(f"{SEEN}.go").exists():
            time.sleep(0.01)
    if kind == "text/csv":
        return 200, b"".join(b"%d\n" % len(line) for line in body.splitlines())
    if kind == "application/jsonlines":
        return 200, b"".join(b'{"n":%d}\n' % len(line) for line in body.splitlines())
    if kind == "application/json":
        return 200, json.dumps({"n": len(json.loads(body))}, indent=1).encode()
    return 200, b"%d bytes" % len(body)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        offered = os.environ.get("PARAMETERS")
        if self.path == "/execution-parameters" and offered is None:
            self.reply(404, b"{}")
        else:
            self.reply(200, (offered or "").encode() if self.path != "/ping" else b"")

    def do_POST(self) -> None:
        with LOCK:
            FLIGHT[0] += 1
            flight = FLIGHT[0]
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self.chunks() if chunked else self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers.get("Content-Type", "")
        seen = {
            "bytes": len(body),
            "lines": body.count(b"\n") + 1,
            "chunked": chunked,
            "flight": flight,
            "kind": kind,
        }
        with LOCK, Path(SEEN).open("a") as file:
            file.write(
                json.dumps(
                    {**seen, "accept": self.headers.get("Accept"), "begins": body[:20].decode("latin-1")}
                )
                + "\n"
            )
        status, found = answer(body, kind)
        with LOCK:
            FLIGHT[0] -= 1
        self.reply(status, found)

    def chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    if os.environ.get("BROKEN"):
        sys.exit("the weights are missing")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
