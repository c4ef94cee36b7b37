"""Run a command that cannot outlive its parent: `python -I -S tether.py COMMAND ARGUMENT...`.

supervisord starts every program through this file, so that a supervisord that is killed leaves no orphans.
It imports next to nothing, because it is paid at every start of every program.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1
QUOTED = "SEAWAY_QUOTED"
"""Names of the environment variables whose values are percent-encoded, separated by spaces."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when `parent` ends; exit at once if that has happened already.

    Linux only; elsewhere it does nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def unquote_environment(environ: dict[str, str]) -> dict[str, str]:
    """The environment with percent-encoded values decoded and the marker removed."""
    environ = dict(environ)
    names = environ.pop(QUOTED, "").split()
    if names:
        from urllib.parse import unquote

        environ.update({name: unquote(environ[name]) for name in names})
    return environ


def supervisor_pid(environ: dict[str, str]) -> int:
    """Process id of the supervisord that started us: its file lies beside its socket.

    Our parent's id would not do: it is already another one if supervisord died a moment ago.
    """
    path = environ["SUPERVISOR_SERVER_URL"].removeprefix("unix://")
    with open(os.path.join(os.path.dirname(path), "supervisord.pid")) as file:  # noqa: PTH118, PTH120, PTH123
        return int(file.read())


def main(argv: list[str]) -> None:
    """Become the command."""
    die_with_parent(supervisor_pid(dict(os.environ)))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, unquote_environment(dict(os.environ)))  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}; check that it exists and is executable\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
