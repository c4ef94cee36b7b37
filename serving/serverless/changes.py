"""Limits of concurrency that change while an activator runs, as SageMaker's `ServerlessUpdateConfig` does.

One file for an endpoint's variant; the activator looks at it again and again, so a change costs no cold
start and holds after a restart, too. A new version begins with the limits of its own project file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from serving.errors import ServingError
from serving.serverless.config import Serverless, changed

LOOK_SECONDS = 1.0
"""Pause between looks at the file."""

log = logging.getLogger("serving")


class Changes:
    """What the file says.

    Args:
        asked: the limits without it.
        environ: names the endpoint and the variant.
    """

    def __init__(self, asked: Serverless, environ: Mapping[str, str]) -> None:
        self._asked = self._last = asked
        self._mark: tuple[int, ...] = ()
        names = environ.get("SEAWAY_ENDPOINT", ""), environ.get("SEAWAY_VARIANT", "")
        self.file = place(Path(asked.changes), *names) if asked.changes and all(names) else None
        """Where it is; None when nothing changes."""

    def read(self) -> Serverless:
        """The limits that hold now; a file that cannot be followed is told once, and changes nothing."""
        if self.file is None:
            return self._asked
        try:
            status = self.file.stat()
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            if mark != self._mark:
                self._mark = mark
                self._last = changed(self._asked, self.file.read_bytes())
        except FileNotFoundError:
            self._mark, self._last = (), self._asked
        except (OSError, ServingError) as error:
            log.error("%s: %s; the limits stay as they are", self.file, error)  # noqa: TRY400 - said
        return self._last


def place(folder: Path, endpoint: str, variant: str) -> Path:
    """The file of a variant."""
    return folder / f"{endpoint}.{variant}.json"
