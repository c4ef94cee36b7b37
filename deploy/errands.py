"""Gets images onto the engine beside the calls that wait for them.

A pull or a build takes minutes; the target's calls take none. An errand runs in a thread of its own, tells
how far it has come, and is tried again after a growing pause when it failed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError, Permanent

LONGEST_PAUSE = 60.0
"""Seconds between two attempts that fail again and again."""

Tell = Callable[[str], None]
Get = Callable[[str, Tell], None]
"""Gets an image of this name onto the engine, and tells how far it has come."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Errand:
    thread: threading.Thread | None = None
    news: str = ""
    failed: DeployError | None = None
    attempts: int = 0
    ended: float = 0.0

    @property
    def pause(self) -> float:
        permanent = isinstance(self.failed, Permanent)
        return LONGEST_PAUSE if permanent else min(LONGEST_PAUSE, 2.0 ** min(self.attempts, 10))


class Errands:
    """Images on their way, by name.

    Args:
        clock: seconds, to time pauses.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._errands: dict[str, _Errand] = {}

    def run(self, image: str, get: Get) -> None:
        """See to it that somebody gets the image; returns at once.

        Raises:
            Permanent: the last attempt failed in a way that will not change by itself.
        """
        errand = self._errands.setdefault(image, _Errand())
        if self.busy(image):
            return
        if errand.failed is not None and self._clock() - errand.ended < errand.pause:
            if isinstance(errand.failed, Permanent):
                raise errand.failed
            return
        errand.thread = threading.Thread(
            target=self._go, args=(errand, image, get), name=f"image {image}", daemon=True
        )
        errand.thread.start()

    def busy(self, image: str) -> bool:
        """Tell whether somebody is on the way."""
        errand = self._errands.get(image)
        return errand is not None and errand.thread is not None and errand.thread.is_alive()

    def news(self, image: str) -> str:
        """How far an image has come, or why it has not; empty when nobody was sent for it."""
        errand = self._errands.get(image)
        return errand.news if errand else ""

    def forget(self, image: str) -> None:
        """The image is there."""
        self._errands.pop(image, None)

    def _go(self, errand: _Errand, image: str, get: Get) -> None:
        def tell(news: str) -> None:
            errand.news = news

        try:
            get(image, tell)
            errand.failed, errand.attempts = None, 0
        except DeployError as error:
            errand.failed, errand.news = error, str(error)
            log.warning("image %s: %s", image, error)
        except Exception as error:
            errand.failed = DeployError(f"image {image} cannot be had: {error}")
            errand.news = str(errand.failed)
            log.exception("image %s cannot be had", image)
        errand.attempts += 1
        errand.ended = self._clock()


class Progress:
    """What the engine reports while it pulls, in one line."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()

    def line(self, report: Mapping[str, Any]) -> str:
        """The state after one more report: `2 of 5 layers, 31 of 88 MB`."""
        layer, status = str(report.get("id", "")), str(report.get("status", ""))
        detail = report.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._layers[layer] = (int(detail["current"]), int(detail["total"]))
        elif status == "Pulling fs layer":
            self._layers.setdefault(layer, (0, 0))
        elif status in {"Download complete", "Pull complete", "Already exists"}:
            _, total = self._layers.get(layer, (0, 0))
            self._layers[layer] = (total, total)
            if status != "Download complete":
                self._done.add(layer)
        here = sum(current for current, _ in self._layers.values()) / 1e6
        whole = sum(total for _, total in self._layers.values()) / 1e6
        return f"{len(self._done)} of {len(self._layers)} layers, {here:.0f} of {whole:.0f} MB"
