"""Several models in one process: what is one per process is lent to each while it loads.

User code reads `SM_MODEL_DIR` and imports modules from its own folder. Both are the process's, so models load
one after the other, whichever thread asks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from serving import contract
from serving.responder import Responder

Loader = Callable[[Path, Mapping[str, str]], Responder]
"""Makes the responder of one unpacked folder: `serving.loading.load_one`."""

_turn = threading.RLock()  # a pipeline may be one of many models


def load(loader: Loader, folder: Path, environ: Mapping[str, str]) -> Responder:
    """The responder of one of several folders; none of them takes another's code for its own.

    Raises:
        ServingError: it cannot be loaded; the message says why.
    """
    own = {name: value for name, value in environ.items() if name != contract.SUBMIT_DIRECTORY}
    own[contract.MODEL_DIR] = str(folder)
    with _turn:
        before = os.environ.get(contract.MODEL_DIR)
        os.environ[contract.MODEL_DIR] = str(folder)
        try:
            return loader(folder, own)
        finally:
            if before is None:
                del os.environ[contract.MODEL_DIR]
            else:
                os.environ[contract.MODEL_DIR] = before
