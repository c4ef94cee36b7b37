"""One thread that makes calls one after the other, beside the event loop.

The thread is a daemon: a call that never returns does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """Starts its thread at the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._began: float | None = None

    async def call(self, function: Callable[..., T], *arguments: object, seconds: float) -> T:
        """The result of the call, which waits for those before it.

        Raises:
            TimeoutError: it was not there in time. A call that has begun goes on; one that waits is dropped.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, lambda: function(*arguments)))
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    def leave(self, function: Callable[[], object]) -> None:
        """Have a call made when its turn comes, whatever becomes of it."""
        self._calls.put((Future(), function))

    def overdue(self, seconds: float) -> bool:
        """Whether the call under way has taken longer than this."""
        began = self._began
        return began is not None and time.monotonic() - began > seconds

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._began = time.monotonic()
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it
                future.set_exception(error)
            else:
                future.set_result(result)
            self._began = None
            del future, call
