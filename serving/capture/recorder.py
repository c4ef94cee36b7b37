"""Takes exchanges from the request path and writes them beside it.

`offer` puts an exchange into a bounded queue and returns; one thread writes: what was asked and answered into
the captures, how it went into the outcomes. Where the disk is slow or full, exchanges are dropped and
counted; a request never waits and never fails because of capture.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from serving.capture.bucket import Bucket
from serving.capture.folder import Folder, disk_percent, hour_of, recover
from serving.capture.outcomes import Outcomes
from serving.capture.record import Exchange, line, sampled
from serving.capture.settings import Settings

BATCH_BYTES = 1024 * 1024
"""Bytes of exchanges that are written at once, nearly."""
WAKE_ITEMS, WAKE_BYTES = 512, 4 * BATCH_BYTES
"""What must wait for the writer not to sleep on."""
REPORT_SECONDS = 60.0
"""Time between two lines of the log about dropped exchanges."""

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the exchanges: offered = skipped + waiting + written + uncaptured + dropped."""

    offered: int = 0
    skipped: int = 0
    """Not in the sample."""
    waiting: int = 0
    """In the queue or being written."""
    written: int = 0
    """In a file, which may not be complete yet."""
    uncaptured: int = 0
    """Failures and event streams, of which only the outcome is kept."""
    dropped_queue: int = 0
    """Because too many were waiting, they were too long, or the recorder was closed."""
    dropped_disk: int = 0
    """Because the disk refused, or is used above the limit."""
    dropped_invalid: int = 0
    """Because they cannot be written as a record."""
    files: int = 0
    """Files completed since the start."""
    sent: int = 0
    """Files sent to S3 since the start."""
    outcomes: int = 0
    """Outcomes in a file, which may not be complete yet; of captured exchanges and others."""
    dropped_outcomes: int = 0
    """Because the disk refused, or is used above the limit."""

    @property
    def dropped(self) -> int:
        """All that were dropped."""
        return self.dropped_queue + self.dropped_disk + self.dropped_invalid


class Recorder:
    """Captures exchanges of one variant; safe to call from any thread.

    Args:
        settings: what is captured.
        folder: where files are written.
        bucket: sends complete files to S3, or None.
        outcomes: where it is written how exchanges went, or None.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Folder,
        bucket: Bucket | None = None,
        *,
        outcomes: Outcomes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._bucket = bucket
        self._outcomes = outcomes
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._queue: deque[Exchange] = deque()
        self._bytes = 0
        self._counts = {field.name: 0 for field in fields(Counts)}
        self._reported = (float("-inf"), 0)
        self._writer = threading.Thread(target=self._run, name="capture", daemon=True)
        self._writer.start()

    def samples(self, event_id: str) -> bool:
        """Whether an exchange of this event would be captured; saves collecting bodies that would not."""
        return not event_id or sampled(event_id, self._settings.sampling)

    def offer(self, exchange: Exchange) -> None:
        """Keep this exchange and its outcome, if it is in the sample and there is room.

        Never waits, never raises.
        """
        try:
            if not exchange.event_id:
                exchange = replace(exchange, event_id=str(uuid.uuid4()))
            self._put(exchange, exchange.size, wanted=self.samples(exchange.event_id))
        except Exception:
            log.exception("an exchange could not be captured")

    def _put(self, exchange: Exchange, size: int, *, wanted: bool) -> None:
        settings, counts = self._settings, self._counts
        with self._lock:
            counts["offered"] += 1
            if not wanted:
                counts["skipped"] += 1
                return
            full = counts["waiting"] >= settings.queue_items or self._bytes + size > settings.queue_bytes
            if full or self._closing:
                counts["dropped_queue"] += 1
                return
            self._queue.append(exchange)
            counts["waiting"] += 1
            self._bytes += size
            hurry = counts["waiting"] == WAKE_ITEMS or self._bytes - size < WAKE_BYTES <= self._bytes
        if hurry:
            self._wake.set()

    @property
    def counts(self) -> Counts:
        """What became of the exchanges so far."""
        with self._lock:
            counts = dict(self._counts)
        counts |= {"files": self._folder.completed, "sent": self._bucket.sent if self._bucket else 0}
        if self._outcomes is not None:
            counts |= {"outcomes": self._outcomes.written, "dropped_outcomes": self._outcomes.dropped}
        return Counts(**counts)

    def close(self, timeout: float) -> bool:
        """Write and complete everything; exchanges offered from now on are dropped.

        Args:
            timeout: longest wait in seconds, with sending to S3.

        Returns:
            False when something is left; what is in files is completed or sent by the next start.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closing = True
        self._wake.set()
        self._writer.join(max(0.0, deadline - time.monotonic()))
        done = not self._writer.is_alive()
        if self._bucket is not None:
            done &= self._bucket.close(max(0.0, deadline - time.monotonic()))
        if self._outcomes is not None:
            done &= self._outcomes.close(max(0.0, deadline - time.monotonic()))
        if not done:
            log.warning(
                "capture was not finished within %g s; %d exchanges wait", timeout, self.counts.waiting
            )
        return done

    # ---- the writer's thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        recover(self._folder.root.parent)
        if self._bucket is not None:
            self._bucket.start()
        if self._outcomes is not None:
            self._outcomes.start()
        closing = False
        while not closing:
            self._wake.wait(self._settings.flush_seconds)
            self._wake.clear()
            closing = self._closing  # read before the queue: what was offered before the close is written
            try:
                self._work(closing=closing)
            except Exception:
                log.exception("capture failed; it goes on with the next exchanges")

    def _work(self, *, closing: bool) -> None:
        completed = self._folder.completed
        while batch := self._take():
            try:
                self._note(batch)
                self._write(batch)
            finally:
                with self._lock:
                    self._counts["waiting"] -= len(batch)
                    self._bytes -= sum(exchange.size for exchange in batch)
            self._rotate()
        self._rotate(everything=closing)
        self._report()
        if self._bucket is not None and self._folder.completed > completed:
            self._bucket.look()

    def _rotate(self, *, everything: bool = False) -> None:
        now = self._clock()
        self._folder.rotate(now, everything=everything)
        if self._outcomes is not None:
            self._outcomes.rotate(now, everything=everything)

    def _take(self) -> list[Exchange]:
        """The next batch; it still counts as waiting."""
        batch: list[Exchange] = []
        size = 0
        with self._lock:
            while self._queue and size < BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += batch[-1].size
        return batch

    def _note(self, batch: list[Exchange]) -> None:
        """Write how a batch went; whatever goes wrong here leaves the captures alone."""
        if self._outcomes is None:
            return
        try:
            self._outcomes.write(batch, self._clock())
        except Exception:
            log.exception("outcomes could not be written; it goes on with the next ones")

    def _write(self, batch: list[Exchange]) -> None:
        """Write a batch, hour by hour."""
        self._count("uncaptured", sum(one.missing in {"failed", "streamed"} for one in batch))
        self._count("dropped_queue", sum(one.missing == "too long" for one in batch))
        batch = [one for one in batch if one.missing is None]
        if disk_percent(self._folder.root) > self._settings.max_disk_percent:
            self._count("dropped_disk", len(batch))
            return
        hours: dict[Path, list[tuple[float, bytes]]] = {}
        for exchange in batch:
            try:
                made = (exchange.at, line(exchange, self._settings))
                hours.setdefault(hour_of(exchange.at), []).append(made)
            except Exception:
                log.exception("an exchange could not be written as a record")
                self._count("dropped_invalid", 1)
        for hour, lines in hours.items():
            at = min(at for at, _ in lines)
            try:
                self._folder.write(hour, at, b"".join(text for _, text in lines), self._clock())
            except OSError as error:
                log.debug("capture cannot write: %s", error)
                self._count("dropped_disk", len(lines))
            else:
                self._count("written", len(lines))

    def _count(self, name: str, number: int) -> None:
        with self._lock:
            self._counts[name] += number

    def _report(self) -> None:
        """Say how many were dropped, at most once in `REPORT_SECONDS`."""
        counts, now = self.counts, self._clock()
        at, dropped = self._reported
        if counts.dropped == dropped or now - at < REPORT_SECONDS:
            return
        self._reported = (now, counts.dropped)
        log.warning(
            "capture dropped %d exchanges; since the start %d because the queue was full, "
            "%d because the disk is full or refused, %d that make no record",
            counts.dropped - dropped,
            counts.dropped_queue,
            counts.dropped_disk,
            counts.dropped_invalid,
        )
