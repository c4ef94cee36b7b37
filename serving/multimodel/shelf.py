"""Models in memory: loaded once for all who ask, kept while they are used, unloaded when room is needed.

What a model costs is what the process grew by while it loaded, and at least the size of its files; the most
that was ever seen counts, because memory that another model left is taken without growing.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from serving import package
from serving.answers import MIB
from serving.errors import RequestRefused, ServingError, Temporary
from serving.multimodel import memory
from serving.multimodel.cache import Ledger
from serving.responder import Responder

BUDGET = "SEAWAY_MULTI_MODEL_MEMORY_IN_MB"
"""Variable: MiB that all loaded models may take together; half of what the process may have when not set."""
PATIENCE = 30.0
"""Seconds that a load waits for calls of the models that make room for it."""

log = logging.getLogger("serving")


class NoMemory(Temporary):
    """The model does not fit beside those that must stay."""

    status = 507


class AlreadyLoaded(RequestRefused):
    """A model of this name is loaded."""

    status = 409


class NotLoaded(RequestRefused):
    """No model of this name is loaded."""

    status = 404


@dataclass(slots=True)
class Loaded:
    """A model that is loaded, or has just left and still answers."""

    name: str
    place: Path
    responder: Responder
    scratch: Path | None
    turn: threading.Lock = field(default_factory=threading.Lock)
    uses: int = 0
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the server started."""

    loads: int = 0
    load_seconds: float = 0.0
    hits: int = 0
    """Calls that found their model loaded."""
    evictions: int = 0
    failures: int = 0
    """Loads that failed."""


class Shelf:
    """All loaded models. May be used from several threads; one model loads at a time.

    Args:
        budget: bytes that all loaded models may take together.
        loader: makes the responder of an unpacked folder.
        cost: bytes a model takes, from its folder and the bytes the process grew by.
        patience: seconds a load waits for calls under way on models that leave.
    """

    def __init__(
        self,
        budget: int,
        loader: Callable[[Path], Responder],
        cost: Callable[[Path, int], int] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._loader = loader
        self._cost = cost or (lambda folder, growth: max(memory.size(folder), growth))
        self._patience = patience
        self._ledger = Ledger(budget)
        self._models: dict[str, Loaded] = {}
        self._coming: dict[str, Future[None]] = {}
        self._known: dict[str, int] = {}
        self._counts = Counts()
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._models

    @property
    def counts(self) -> Counts:
        """What has happened so far."""
        with self._changed:
            return self._counts

    @property
    def loaded(self) -> tuple[tuple[str, Path], ...]:
        """Names and places of all loaded models, least recently used first."""
        with self._changed:
            return tuple((name, self._models[name].place) for name in self._ledger)

    @property
    def used(self) -> int:
        """Bytes that the loaded models count."""
        with self._changed:
            return self._ledger.used

    @property
    def budget(self) -> int:
        """Bytes that they may."""
        return self._ledger.budget

    def load(self, name: str, place: Callable[[], Path]) -> None:
        """Load a model that stays until `unload`.

        Raises:
            AlreadyLoaded: there is one of this name.
            NoMemory: it does not fit; nothing is unloaded for it.
            ServingError: it cannot be loaded.
        """
        with self._changed:
            if name in self._models or name in self._coming:
                raise AlreadyLoaded(f"the model {name} is loaded already; delete it first")
        with self.lease(name, place, pinned=True):
            pass

    def unload(self, name: str) -> None:
        """Unload a model; returns when its resources are free, after the calls under way.

        Raises:
            NotLoaded: there is none of this name.
            NoMemory: its calls did not end in time; it leaves when they do.
        """
        with self._changed:
            self._await([self._take_away(name)], f"the model {name} still answers; it leaves when it has")
        memory.give_back()

    @contextmanager
    def lease(self, name: str, place: Callable[[], Path] | None, *, pinned: bool) -> Iterator[Loaded]:
        """A loaded model that nobody takes apart meanwhile; loaded first when `place` says from where.

        Raises:
            NotLoaded: it is not loaded, and there is no `place`.
            NoMemory: it does not fit.
            ServingError: it cannot be loaded.
        """
        model = self._acquire(name, place, pinned=pinned)
        try:
            yield model
        finally:
            with self._changed:
                model.uses -= 1
                self._finish(model)

    def _acquire(self, name: str, place: Callable[[], Path] | None, *, pinned: bool) -> Loaded:
        fresh = False
        while True:
            with self._changed:
                if (model := self._models.get(name)) is not None:
                    model.uses += 1
                    self._ledger.touch(name)
                    if not fresh:
                        self._counts = replace(self._counts, hits=self._counts.hits + 1)
                    return model
                if place is None:
                    raise NotLoaded(f"no model {name} is loaded; load it with POST /models")
                coming = self._coming.get(name)
                mine = coming is None
                if coming is None:
                    coming = self._coming[name] = Future()
            if not mine:
                coming.result()  # whoever loads it; its error is ours too
                fresh = True
                continue
            return self._bring(name, place, coming, pinned=pinned)

    def _bring(self, name: str, place: Callable[[], Path], coming: Future[None], *, pinned: bool) -> Loaded:
        """Load a model, tell who else waits for it, and keep it in use."""
        try:
            with self._loading:
                model = self._load(name, place(), pinned=pinned)
        except BaseException as error:
            with self._changed:
                del self._coming[name]
                self._counts = replace(self._counts, failures=self._counts.failures + 1)
            coming.set_exception(error)
            raise
        coming.set_result(None)
        return model

    def _load(self, name: str, place: Path, *, pinned: bool) -> Loaded:
        began = time.perf_counter()
        scratch = None
        folder = place
        if place.is_file():
            scratch = Path(tempfile.mkdtemp(prefix="seaway-model-"))
        try:
            if scratch is not None:
                folder = package.unpack(place, scratch / place.name.split(".")[0], package.digest(place))
            expected = max(self._known.get(name, 0), self._cost(folder, 0))
            if self._make_room(name, expected, pinned=pinned):
                memory.give_back()
            _import_libraries(folder)
            before = memory.resident()
            responder = self._loader(folder)
            growth = max(0, memory.resident() - before)
            cost = max(self._known.get(name, 0), self._cost(folder, growth))
            self._known[name] = cost
            model = Loaded(name, place, responder, scratch, uses=1)
            self._enter(model, cost, time.perf_counter() - began, pinned=pinned)
        except BaseException:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            raise
        return model

    def _make_room(self, name: str, cost: int, *, pinned: bool) -> int:
        """Unload what is needed for `cost` bytes, and wait until it has left; returns how many models."""
        with self._changed:
            models = [self._take_away(one) for one in self._leaving(name, cost, pinned=pinned)]
            self._counts = replace(self._counts, evictions=self._counts.evictions + len(models))
            self._await(models, f"there is no room for {name} while other models answer; try again")
            return len(models)

    def _await(self, leaving: list[Loaded], problem: str) -> None:
        """Wait for the calls under way on models that leave."""
        if not self._changed.wait_for(lambda: not any(one.uses for one in leaving), self._patience):
            raise NoMemory(problem)

    def _enter(self, model: Loaded, cost: int, seconds: float, *, pinned: bool) -> None:
        """Make a loaded model known, and unload others where it takes more than was thought."""
        with self._changed:
            names = self._leaving(model.name, cost, pinned=pinned)
            for one in names:
                self._take_away(one)
            self._models[model.name] = model
            self._ledger.add(model.name, cost, pinned=pinned)
            del self._coming[model.name]
            counts = self._counts
            self._counts = replace(
                counts,
                loads=counts.loads + 1,
                load_seconds=counts.load_seconds + seconds,
                evictions=counts.evictions + len(names),
            )
        log.info("loaded %s in %.3f s, %.1f MB", model.name, seconds, cost / MIB)

    def _leaving(self, name: str, cost: int, *, pinned: bool) -> tuple[str, ...]:
        names = self._ledger.leaving(cost)
        if names is None or (names and pinned):
            raise NoMemory(
                f"{name} takes {cost / MIB:.1f} MB and models may take {self._ledger.budget / MIB:g} MB, of "
                f"which {self._ledger.used / MIB:.1f} MB are taken; unload others, or set {BUDGET} higher"
            )
        return names

    def _take_away(self, name: str) -> Loaded:
        model = self._models.pop(name, None)
        if model is None:
            raise NotLoaded(f"no model {name} is loaded")
        self._ledger.remove(name)
        model.leaving = True
        self._finish(model)
        log.info("unloaded %s", name)
        return model

    def _finish(self, model: Loaded) -> None:
        """Remove the files of a model that left, when its last call has ended."""
        if model.leaving and model.uses == 0:
            if model.scratch is not None:
                shutil.rmtree(model.scratch, ignore_errors=True)
            self._changed.notify_all()


def _import_libraries(folder: Path) -> None:
    """Import what the model's runtime needs, so that its first model is not charged for it."""
    try:
        runtime = package.load_manifest(folder).runtime
    except ServingError:
        return  # no package of ours, or a damaged one: loading says so
    import serving.model  # noqa: F401

    if runtime == "onnx":
        import onnxruntime  # noqa: F401
    elif runtime in ("skops", "pickle"):
        import sklearn.pipeline  # noqa: F401
        import skops.io  # noqa: F401
