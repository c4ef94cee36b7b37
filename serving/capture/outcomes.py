"""How requests went: one JSON line each, beside the captures, also for those that failed.

Files are made, rotated, completed, encrypted and sent as captures are, in a tree of their own. A line holds
nothing of what was asked or answered:

    {"eventId":"…","inferenceTime":"2026-02-14T17:25:06.120Z","variant":"v3","status":200,"modelLatency":1834}
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from serving.capture.bucket import Bucket
from serving.capture.folder import Folder, disk_percent, hour_of, recover
from serving.capture.record import Exchange, Outcome

log = logging.getLogger("serving")


class Outcomes:
    """Writes outcomes; called by the recorder's thread alone.

    Args:
        folder: where files are written; its name is the variant's.
        max_disk_percent: use of the disk above which outcomes are dropped.
        bucket: sends complete files to S3, or None.
    """

    def __init__(self, folder: Folder, max_disk_percent: float, bucket: Bucket | None = None) -> None:
        self._folder = folder
        self._max_disk_percent = max_disk_percent
        self._bucket = bucket
        self._told = 0
        self.written = 0
        """Outcomes in a file, which may not be complete yet."""
        self.dropped = 0
        """Outcomes that the disk refused."""

    def start(self) -> None:
        """Complete what dead processes left, and begin to send."""
        recover(self._folder.root.parent)
        if self._bucket is not None:
            self._bucket.start()

    def write(self, batch: Sequence[Exchange], now: float) -> None:
        """Add the outcomes of a batch, hour by hour; exchanges without one are passed over."""
        known = [(one, one.outcome) for one in batch if one.outcome is not None]
        if known and disk_percent(self._folder.root) > self._max_disk_percent:
            self.dropped += len(known)
            return
        hours: dict[Path, list[tuple[float, bytes]]] = {}
        for one, outcome in known:
            made = (one.at, line(one.event_id, one.at, outcome, self._folder.root.name))
            hours.setdefault(hour_of(one.at), []).append(made)
        for hour, lines in hours.items():
            at = min(at for at, _ in lines)
            try:
                self._folder.write(hour, at, b"".join(text for _, text in lines), now)
            except OSError as error:
                log.debug("outcomes cannot be written: %s", error)
                self.dropped += len(lines)
            else:
                self.written += len(lines)

    def rotate(self, now: float, *, everything: bool = False) -> None:
        """Complete the files that are old enough, and have them sent."""
        self._folder.rotate(now, everything=everything)
        if self._bucket is not None and self._folder.completed > self._told:
            self._told = self._folder.completed
            self._bucket.look()

    def close(self, timeout: float) -> bool:
        """Send what is left; false when the time was too short, and the next start sends it."""
        return self._bucket is None or self._bucket.close(timeout)


def line(event_id: str, at: float, outcome: Outcome, variant: str) -> bytes:
    """An outcome as a line with its end; the latency is left out where there is none."""
    came = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    made: dict[str, str | int] = {
        "eventId": event_id.encode(errors="replace").decode(),
        "inferenceTime": came.removesuffix("+00:00") + "Z",
        "variant": variant,
        "status": outcome.status,
    }
    if outcome.microseconds is not None:
        made["modelLatency"] = outcome.microseconds
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)
