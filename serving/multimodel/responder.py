"""Many models behind one server: each is loaded when it is first asked for, and leaves when room is needed.

`X-Amzn-SageMaker-Target-Model` names a model by its key below the root: an archive or an unpacked folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from serving import contract, several
from serving.answers import MIB
from serving.environment import EnvironmentInvalid, execution_parameters
from serving.multimodel import memory
from serving.multimodel.keys import KeyRefused, find
from serving.multimodel.management import Managed, manage, refusal
from serving.multimodel.shelf import BUDGET, PATIENCE, Counts, Loaded, Shelf
from serving.responder import Answer, Request, Responder

LANES = 16
"""Lanes on which loaded models answer; see `MultiModelResponder.lane`."""
_INVOKE = re.compile(r"/models/(.+?)/invoke/?")


class MultiModelResponder:
    """Answers for every model below a folder. May be called from several threads at once.

    Models answer beside each other; one model answers one call at a time, and one model loads at a time.

    Args:
        root: folder of archives and unpacked folders.
        budget: bytes that all loaded models may take together.
        loader: makes the responder of an unpacked folder.
        parameters: body of `GET /execution-parameters`.
        cost: bytes a model takes, from its folder and the bytes the process grew by.
        patience: seconds a load waits for calls under way on models that leave.
    """

    def __init__(
        self,
        root: Path,
        budget: int,
        loader: Callable[[Path], Responder],
        *,
        parameters: Mapping[str, object] | None = None,
        cost: Callable[[Path, int], int] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._root = root
        self._parameters = dict(parameters or {})
        self._shelf = Shelf(budget, loader, cost, patience)

    def respond(self, request: Request) -> Answer:
        """See `serving.responder.Responder.respond`; loads the target model if it is not loaded."""
        key = request.headers.get(contract.TARGET_MODEL, "")
        if not key:
            return refusal(400, "name a model in the header X-Amzn-SageMaker-Target-Model")
        try:
            with self._shelf.lease(key, lambda: find(self._root, key), pinned=False) as model:
                return _answer(model, request)
        except KeyRefused as error:
            return refusal(error.status, str(error))

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """Of the server; models of their own are not asked."""
        return self._parameters

    @property
    def counts(self) -> Counts:
        """What has happened so far."""
        return self._shelf.counts

    @property
    def used(self) -> int:
        """Bytes that the loaded models count."""
        return self._shelf.used

    @property
    def loaded(self) -> tuple[Managed, ...]:
        """All loaded models, least recently used first."""
        return tuple(Managed(name, str(place)) for name, place in self._shelf.loaded)

    def lane(self, path: str, headers: Mapping[str, str]) -> int:
        """Which of `LANES` + 1 queues a call belongs to: 0 for those that may load or unload a model.

        A server that calls from one thread for each lane keeps models from waiting for another's load.
        """
        if path == contract.INVOCATIONS:
            name = headers.get(contract.TARGET_MODEL, "")
        else:
            found = _INVOKE.fullmatch(path)
            name = found[1] if found else ""
        return 1 + crc32(name.encode()) % LANES if name in self._shelf else 0

    def manage(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """The answer to a call below `/models`; None when the path is another: see `management`."""
        return manage(self, method, path, headers, body)

    def load(self, name: str, url: str) -> None:
        """Load a model from a place below the root; it stays until `unload`. See `Shelf.load`.

        Raises:
            KeyRefused: the place is not below the root, or there is no model.
        """
        self._shelf.load(name, lambda: find(self._root, _key(self._root, url)))

    def unload(self, name: str) -> None:
        """See `Shelf.unload`."""
        self._shelf.unload(name)

    def invoke(self, name: str, request: Request) -> Answer:
        """Ask a loaded model.

        Raises:
            NotLoaded: there is none of this name.
        """
        with self._shelf.lease(name, None, pinned=True) as model:
            return _answer(model, request)

    def metrics(self) -> str:
        """Counters and gauges in Prometheus' text format."""
        counts = self.counts
        shown = (
            ("seaway_models_loaded", "gauge", len(self._shelf.loaded)),
            ("seaway_models_memory_bytes", "gauge", self.used),
            ("seaway_models_memory_budget_bytes", "gauge", self._shelf.budget),
            ("seaway_model_cache_hits_total", "counter", counts.hits),
            ("seaway_model_loads_total", "counter", counts.loads),
            ("seaway_model_load_failures_total", "counter", counts.failures),
            ("seaway_model_load_seconds_total", "counter", counts.load_seconds),
            ("seaway_model_evictions_total", "counter", counts.evictions),
        )
        return "".join(f"# TYPE {name} {kind}\n{name} {value}\n" for name, kind, value in shown)


def load(folder: Path, environ: Mapping[str, str], load_one: several.Loader) -> MultiModelResponder:
    """The responder of all models below a folder.

    Raises:
        EnvironmentInvalid: the budget is no positive number.
    """
    return MultiModelResponder(
        folder,
        _budget(environ),
        lambda found: several.load(load_one, found, environ),
        parameters=execution_parameters(environ, 1),
    )


def _answer(model: Loaded, request: Request) -> Answer:
    with model.turn:
        answer = model.responder.respond(request)
        # A model may leave before the last part of its stream is made, so it is made here.
        if answer.stream is not None:
            answer = replace(answer, body=b"".join(answer.stream), stream=None)
    return answer


def _budget(environ: Mapping[str, str]) -> int:
    text = environ.get(BUDGET)
    if not text:
        return memory.available() // 2
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e9:
        raise EnvironmentInvalid(f"{BUDGET} is {text!r}; set it to a positive number")
    return int(size * MIB)


def _key(root: Path, url: str) -> str:
    """The key of a place that the platform names by its whole path."""
    path = url.removeprefix("file://")
    base = str(root.absolute()).rstrip("/") + "/"
    if not path.startswith(base):
        raise KeyRefused(f"url must be a path below {root.name}/, the root of the models")
    return path.removeprefix(base)
