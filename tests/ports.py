"""Ports for servers that tests start.

They lie below those that the local target gives to model servers and those that the kernel gives to outgoing
connections, so nobody takes one between this choice and the server's start. Envoys share ports on purpose;
no port is given out twice by one process, and none on which anybody listens.
"""

from __future__ import annotations

import random
import socket

from configs.settings import DEFAULT_PORTS

_RANGE = range(10_100, 19_900)
_dice = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    while True:
        port = _dice.choice(_RANGE)
        if port not in _given and _free(port):
            _given.add(port)
            return port


def free_ports() -> dict[str, int]:
    """A free port for each service of the platform."""
    return {name: free_port() for name in DEFAULT_PORTS}


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
