"""Run a command that ends when standard input does: `python -m steps.transform.guard COMMAND...`.

Whoever starts it holds the other end of the pipe, so the command cannot outlive a worker that is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE = 10.0
"""Seconds the command has after SIGTERM."""


def main(command: list[str]) -> int:
    """Run the command; returns its exit code."""
    early = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: early.set())  # as yet there is no child to pass it on to
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    if early.is_set():
        child.terminate()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the worker decides
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    return child.wait()


def _watch(child: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
