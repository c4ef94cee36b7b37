"""One model server of an activator: `python -m serving.serverless.confine PARENT BYTES SHARE ARGUMENT...`.

Sets what only a process can set for itself, then is `python -m serving ARGUMENT...`: it dies when the
activator does, however that ends, the kernel refuses it private memory beyond the given number of bytes, and
it runs on no more processors than its share.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

from serving.serverless.processors import place, take

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Confine this process, then serve; ends the process."""
    parent, limit, wanted, *rest = arguments
    _die_with(int(parent))
    _limit_memory(int(limit))
    take(place(float(wanted), os.sched_getaffinity(0), os.getpid()))
    sys.argv[1:] = rest
    runpy.run_module("serving", run_name="__main__")


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends; exit at once if that has happened already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _limit_memory(limit: int) -> None:
    """Address space stays free, for runtimes reserve more of it than they use."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main(sys.argv[1:])
