"""`docker run IMAGE serve`: answer HTTP with what is in the container's tree, until SIGTERM.

One worker, as for many models: this process becomes the model server. Several: so many model servers on one
port, whose connections the kernel shares out. With `SAGEMAKER_USE_NGINX=true`: nginx, and gunicorn behind it
on a Unix socket.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import string
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from serving import contract, environment, requirements
from serving.__main__ import THREADS
from serving.environment import Wanted
from serving.errors import ServingError
from serving.group import Member, run
from serving.handlers import byo, script
from serving.loading import MODELS, PIPELINE, many

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeats must not wait for a disk

log = logging.getLogger("serving")


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="serve", description="Serve the model of this container.")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - the contract
    options = parser.parse_args(arguments)
    environ = with_package(os.environ)
    try:
        asked = environment.wanted(environ, len(os.sched_getaffinity(0)))
        logging.basicConfig(
            stream=sys.stderr,
            level=asked.log_level,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
        )
        tree = contract.Tree.of(environ)
        folder = tree.models if asked.multi_model else tree.model
        environ.setdefault(contract.MODEL_DIR, str(folder))
        environ.update(_own_application(folder, environ))
        requirements.install(script.program(folder, environ).parent, environ)
        return _serve(asked, folder, options.host, environ)
    except ServingError as error:
        log.error("cannot serve: %s", error)  # noqa: TRY400 - the message says it all
        return 1


def _own_application(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that name the container's own web application, where that is what it has to serve."""
    known = (folder / "seaway.json", folder / PIPELINE, folder / MODELS, script.program(folder, environ))
    if any(file.is_file() for file in known) or not (own := byo.find(folder, environ, Path.cwd())):
        return {}
    return {contract.SUBMIT_DIRECTORY: str(own.parent), contract.PROGRAM: own.name}


def with_package(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of our processes: this package can be imported, numeric libraries stay slim."""
    paths = [str(HERE.parent), environ.get("PYTHONPATH", "")]
    single = dict.fromkeys(THREADS, "1")  # pools of threads slow single rows down
    return {**environ, **single, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _serve(asked: Wanted, folder: Path, host: str, environ: dict[str, str]) -> int:
    if asked.use_nginx:
        return _nginx(asked, folder, host, environ)
    command = server_command(folder, host, asked)
    if workers(asked, folder, environ) == 1:
        os.execve(command[0], command, environ)  # noqa: S606 - no shell; signals then reach the server itself
    log.info("%d model servers on port %d", asked.workers, asked.port)
    members = [Member(f"worker {number}", command) for number in range(1, asked.workers + 1)]
    return run(members, environ, contract.STOP_GRACE_SERVE - 1)


def workers(asked: Wanted, folder: Path, environ: Mapping[str, str]) -> int:
    """How many model servers: one for many models, since each server would load its own."""
    if not many(folder, environ):
        return asked.workers
    if asked.workers > 1 and environ.get(contract.WORKERS):
        log.info("one worker, not %d: all models share one memory budget", asked.workers)
    return 1


def server_command(folder: Path, host: str, asked: Wanted) -> list[str]:
    """The command of one model server."""
    names = logging.getLevelNamesMapping()
    at_most = [name for name in ("ERROR", "WARNING", "INFO", "DEBUG") if names[name] <= asked.log_level]
    level = (at_most or ["DEBUG"])[0].lower()
    place = ["--package", str(folder), "--host", host, "--port", str(asked.port)]
    return [sys.executable, "-m", "serving", *place, "--log-level", level]


def _nginx(asked: Wanted, folder: Path, host: str, environ: dict[str, str]) -> int:
    program = shutil.which("nginx", path=f"{environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not program:
        raise environment.EnvironmentInvalid(
            f"nginx is not in this image; install nginx-light, or set {contract.USE_NGINX}=false"
        )
    with tempfile.TemporaryDirectory(prefix="serve-") as name:
        place = Path(name)
        place.chmod(0o755)  # nginx's own user looks for the socket in it
        configuration = place / "nginx.conf"
        socket = place / "gunicorn.sock"
        configuration.write_text(nginx_configuration(place, socket, f"{host}:{asked.port}", asked))
        nginx = [program, "-c", str(configuration), "-p", name, "-e", "stderr", "-g", "daemon off;"]
        members = [
            Member("nginx", nginx, stop="SIGQUIT"),  # first: it passes on what it has taken
            Member("gunicorn", gunicorn_command(socket, folder, environ, asked)),
        ]
        return run(members, environ, contract.STOP_GRACE_SERVE - 1, one_by_one=True)


def nginx_configuration(folder: Path, socket: Path, address: str, asked: Wanted) -> str:
    """nginx.conf with its places filled in."""
    text = (HERE / "nginx.conf").read_text()
    return string.Template(text).safe_substitute(
        folder=folder,
        socket=socket,
        address=address,
        body=max(1, round(asked.max_payload)),
        timeout=round(asked.timeout) + 5,
    )


def gunicorn_command(socket: Path, folder: Path, environ: Mapping[str, str], asked: Wanted) -> list[str]:
    """The command of gunicorn on a Unix socket, with the container's own application or else ours."""
    own = script.program(folder, environ)
    byo_app = own.name in byo.NAMES and own.is_file()
    target = ["--chdir", str(own.parent), f"{own.stem}:app"] if byo_app else ["serving.wsgi:app"]
    beats = ["--worker-tmp-dir", str(SHARED_MEMORY)] if os.access(SHARED_MEMORY, os.W_OK) else []
    settings = [
        "-k",
        "sync",
        "-w",
        str(workers(asked, folder, environ)),
        "-b",
        f"unix:{socket}",
        "--umask",
        "0",
    ]
    times = ["--timeout", str(round(asked.timeout)), "--graceful-timeout", "25"]
    return [sys.executable, "-m", "gunicorn", "--no-control-socket", *settings, *times, *beats, *target]


if __name__ == "__main__":
    sys.exit(main())
