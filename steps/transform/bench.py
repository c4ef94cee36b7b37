"""What one worker works with: the job, its model server, and the limits both have agreed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from steps.transform.limits import Limits, environment, resolve
from steps.transform.port import Work
from steps.transform.server import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """A worker's place of work."""

    work: Work
    server: Server
    limits: Limits


@contextmanager
def bench(work: Work, log: Path) -> Iterator[Bench]:
    """Unpack the package, start a model server and end it afterwards.

    Args:
        work: the job; its package is unpacked into its folder, once for all workers of a machine.
        log: file for what the server prints.

    Raises:
        ServerFailed: the server does not start.
        JobRefused: its parameters do not go with the job.
        serving.errors.PackageDamaged: the archive is not the package.
    """
    from serving.package import unpack

    folder = unpack(work.model.archive, work.folder / "package", work.model.digest)
    variables = {**dict(work.model.environment), **environment(work.job)}
    with Server(work.model.serve, folder, variables, log) as server:
        yield Bench(work, server, resolve(work.job, server.parameters()))
