"""Sends complete capture files to S3, and removes them here once they are there.

Files wait in a spool folder, so neither a slow store nor a dead process loses them. Sending a file twice
puts the same bytes under the same name: processes that share a spool need not know each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.capture.folder import complete_files, hour_begins

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between attempts while the store refuses."""
LOOK_SECONDS = 30.0
"""Seconds between looks when nobody says that there is a file."""
KEPT_HOURS = 2
"""Age in hours at which an empty folder of the spool is removed."""

log = logging.getLogger("serving")


class Bucket:
    """A thread that empties a spool folder of one endpoint.

    Args:
        spool: holds a folder for each variant.
        destination: `s3://bucket/prefix`, without the endpoint.
        kms_key: KMS key for encryption by S3; empty for the bucket's own rule.
    """

    def __init__(self, spool: Path, destination: str, kms_key: str = "") -> None:
        self._spool = spool
        self._bucket, _, prefix = destination.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/{spool.name}" if prefix else spool.name
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        self._wake = threading.Event()
        self._closing = False
        self._given_up = False
        self._client: Any = None
        self._thread = threading.Thread(target=self._run, name="capture-s3", daemon=True)
        self.sent = 0
        """Files sent since the start."""

    def start(self) -> None:
        """Begin; what lies in the spool is sent first."""
        self._thread.start()

    def look(self) -> None:
        """There is a new file."""
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Send what is left; false when the time was too short, and the next start sends it."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._given_up = True
        self._wake.set()
        return not self._thread.is_alive() and not any(self._files())

    def _run(self) -> None:
        pause = 0.0
        while not self._given_up:
            closing = self._closing  # read before the files: what was complete before the close is sent
            try:
                self._send_all()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - every trouble with the store is waited out
                pause = FIRST_PAUSE if closing else min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
                log.warning("capture: s3://%s fails, next try in %g s: %s", self._bucket, pause, error)
            if closing and not pause:
                break
            self._wake.wait(pause or LOOK_SECONDS)
            self._wake.clear()
        if self._client is not None:
            self._client.close()

    def _files(self) -> Iterator[Path]:
        for variant in sorted(self._spool.glob("*/")):
            yield from complete_files(variant)

    def _send_all(self) -> None:
        self._client = client = self._client or connect()
        for path in self._files():
            if self._given_up:
                return
            key = f"{self._prefix}/{path.relative_to(self._spool).as_posix()}"
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                with path.open("rb") as file:
                    client.put_object(Bucket=self._bucket, Key=key, Body=file, **self._encryption)
                path.unlink()
                self.sent += 1
            if time.time() - hour_begins(path.parent) > KEPT_HOURS * 3600:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def spool_of(folder: Path, destination: str) -> Path:
    """The part of the spool for one destination: files never reach another one than they were meant for."""
    return folder / hashlib.sha256(destination.encode()).hexdigest()[:16]


def connect() -> Any:
    """A client for S3; address and credentials are found as boto3 finds them."""
    import boto3
    from botocore.config import Config

    retries = {"total_max_attempts": 2, "mode": "standard"}
    return boto3.client("s3", config=Config(connect_timeout=5, read_timeout=30, retries=retries))
