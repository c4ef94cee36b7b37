"""A registry of images that really speaks the pull protocol, with one image and, if wanted, a login."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry(ThreadingHTTPServer):
    """Holds `NAME:1` for any name but `nothing`."""

    daemon_threads = True

    def __init__(self, saved: bytes, login: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.login = base64.b64encode(login.encode()).decode()
        self.blobs: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
            (image,) = json.load(_member(tar, "manifest.json"))
            config = self._keep(_CONFIG, _member(tar, image["Config"]).read())
            layers = [
                self._keep(_LAYER, gzip.compress(_member(tar, layer).read(), 1, mtime=0))
                for layer in image["Layers"]
            ]
        content = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        self.manifest = json.dumps(content).encode()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def _keep(self, kind: str, blob: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        self.blobs[digest] = blob
        return {"mediaType": kind, "size": len(blob), "digest": digest}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        last = self.path.rsplit("/", 1)[-1]
        if self.server.login and self.headers.get("authorization") != f"Basic {self.server.login}":
            self._answer(
                401, _error("UNAUTHORIZED"), "application/json", ("www-authenticate", "Basic realm=x")
            )
        elif self.path == "/v2/":
            self._answer(200, b"{}", "application/json")
        elif "/manifests/" in self.path and "/nothing/" not in self.path:
            digest = f"sha256:{hashlib.sha256(self.server.manifest).hexdigest()}"
            self._answer(200, self.server.manifest, _MANIFEST, ("docker-content-digest", digest))
        elif last in self.server.blobs:
            self._answer(200, self.server.blobs[last], "application/octet-stream")
        else:
            self._answer(404, _error("MANIFEST_UNKNOWN"), "application/json")

    def _answer(self, status: int, body: bytes, kind: str, *lines: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(body))), *lines):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _member(tar: tarfile.TarFile, name: str) -> Any:
    found = tar.extractfile(name)
    assert found is not None
    return found


def _error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()


@contextmanager
def registry(client: Any, image: str, login: str = "") -> Iterator[Registry]:
    """A registry with an image that the engine has now, and will not have any more."""
    from docker.errors import ImageNotFound

    saved = b"".join(client.images.get(image).save(named=True))
    with suppress(ImageNotFound):  # gone is gone
        client.images.remove(image, force=True)
    with Registry(saved, login) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
