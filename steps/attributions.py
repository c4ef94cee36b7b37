"""What a packed model relies on: attributions of a sample of rows, by the package's own means.

Trees are explained by TreeSHAP where that is exact; a boosted classifier in log-odds, which is what its trees
add up to. Every other model is asked: about all coalitions of its inputs where they are few, else about those
of KernelSHAP, with the rows of many games in one call of the model as it is served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from monitoring.explain import Attributions, Dependence, How, partial_dependence, summarise
from monitoring.explain.attributions import Method, Space
from monitoring.explain.globally import Aggregation, Numbers, missed
from serving import codecs, package
from serving.codecs import Columns
from serving.errors import ServingError
from serving.explain import baseline as baselines
from serving.explain import kernel, trees
from serving.explain.game import linked
from serving.explain.settings import TYPICAL, Settings
from serving.manifest import Manifest
from serving.predictor import BySize, Predictor, load
from steps.coalitions import Asked, Games
from steps.errors import DataRefused
from steps.explained_rows import picked

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

MOST_EXACT = 16
"""Inputs up to which `exact` asks the model about all coalitions."""
AT_ONCE = 256
"""Rows that TreeSHAP explains per call."""
TOLERATED = 1e-4
"""What attributions may miss of a score."""

Progress = Callable[[int, int], object]
"""Told how many rows are explained, and of how many."""


def silent(_done: int, _rows: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How to explain."""

    rows: int = 1000
    """Rows that are explained; a seeded sample where there are more."""
    method: Literal["auto", "tree", "exact", "kernel"] = "auto"
    """`auto`: TreeSHAP where it is exact, else by asking the model."""
    space: Space | None = None
    """What is attributed; None: scores, or log-odds where only these can be had from the trees."""
    aggregation: Aggregation = "mean_abs"
    baseline: str = TYPICAL
    """Rows of the package to compare with: `typical` or `rows`."""
    samples: int | None = None
    """Coalitions per row for KernelSHAP; None is 2 times the inputs plus 2048."""
    seed: int = 7

    def like(self, known: Attributions) -> Wish:
        """The same, so that its outcome can be held against attributions that are known."""
        how = known.how
        return replace(self, space=how.space, aggregation=how.aggregation, baseline=how.baseline)


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """Attributions row by row."""

    features: tuple[str, ...]
    headers: tuple[str, ...]
    """What each output is."""
    places: tuple[int, ...]
    """Which rows of the table were explained."""
    values: Numbers
    """By row, feature and output."""
    scores: Numbers
    """By row and output."""
    expected: Numbers
    """By output."""
    how: How
    background: Columns
    """The baseline rows."""
    notes: tuple[str, ...] = ()

    def summary(self) -> Attributions:
        """One number per feature.

        Raises:
            DataRefused: no row has attributions that are finite.
        """
        try:
            return summarise(self.values, self.expected, self.features, self.headers, self.how, self.notes)
        except ValueError as error:
            raise DataRefused(f"the model cannot be explained: {error}") from error


@dataclass(frozen=True)
class Model:
    """A packed model that can be explained."""

    folder: Path
    """The package, unpacked."""
    predictor: Predictor
    _trees: dict[tuple[Space, str], trees.TreeExplainer | str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, folder: Path) -> Model:
        """The model of an unpacked package.

        Raises:
            DataRefused: the package cannot be loaded.
        """
        try:
            return cls(folder, load(folder))
        except ServingError as error:
            raise DataRefused(f"the package cannot be explained: {error}") from error

    @property
    def manifest(self) -> Manifest:
        """What the package says of its model."""
        return self.predictor.manifest

    @cached_property
    def headers(self) -> tuple[str, ...]:
        """What each output is: the classes, of two the positive one; or the model's name."""
        classes = self.manifest.classes
        if classes is None:
            return (self.manifest.model,)
        shown = classes if self.manifest.task == "multiclass" else classes[1:]
        return tuple(str(one) for one in shown)

    def score(self, columns: Columns, space: Space = "scores") -> Numbers:
        """What is attributed, by row and output."""
        one = self.predictor.compiled if isinstance(self.predictor, BySize) else self.predictor
        return linked(one.predict(columns).scores, logit=space == "log_odds")

    def background(self, wanted: str) -> Columns:
        """Rows that features are compared with."""
        return baselines.read(self.folder, self.manifest, Settings(baseline=wanted))

    def tree_explainer(self, space: Space, wanted: str) -> trees.TreeExplainer | str:
        """What explains by the trees, or why nothing does."""
        if (space, wanted) not in self._trees:
            self._trees[space, wanted] = self._fitting(space, wanted)
        return self._trees[space, wanted]

    def _fitting(self, space: Space, wanted: str) -> trees.TreeExplainer | str:
        import orjson

        request = orjson.loads((self.folder / package.SAMPLE).read_bytes())["request"]
        sample = codecs.decode(orjson.dumps(request), codecs.JSON, self.manifest)
        logit = space == "log_odds"
        try:
            return trees.fitting(
                self.folder,
                self.manifest,
                self.background(wanted),
                sample,
                lambda columns: self.score(columns, space),
                logit=logit,
            )
        except trees.TreesUnfit as error:
            return str(error)


def attributions(
    folder: Path,
    rows: pl.DataFrame,
    wish: Wish = Wish(),
    progress: Progress = silent,
) -> Attributions:
    """What an unpacked package's model relies on, over rows with its inputs; equal arguments, equal outcome.

    Raises:
        DataRefused: there are no rows that the model can answer, or the package cannot be explained so.
    """
    return local(Model.load(folder), rows, wish, progress).summary()


def attributions_of_files(
    files: Mapping[str, bytes],
    rows: pl.DataFrame,
    wish: Wish = Wish(),
    progress: Progress = silent,
) -> Attributions:
    """The same for a package that is not written yet, given by its files."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return attributions(folder, rows, wish, progress)


def local(model: Model, rows: pl.DataFrame, wish: Wish, progress: Progress = silent) -> Local:
    """Attributions of each row of the sample.

    Raises:
        DataRefused: see `attributions`.
    """
    places, columns, notes = picked(rows, model.manifest, wish.rows, wish.seed)
    try:
        return _explained(model, columns, places, wish, progress, notes)
    except ServingError as error:
        raise DataRefused(f"the model cannot be explained: {error}") from error


def dependences(
    model: Model, rows: pl.DataFrame, features: Sequence[str], wish: Wish, resolution: int = 15
) -> tuple[Dependence, ...]:
    """Partial dependence of the model's scores on features, over the sample of rows.

    Raises:
        DataRefused: there are no such rows, or the model cannot answer them.
    """
    _, columns, _ = picked(rows, model.manifest, wish.rows, wish.seed)
    try:
        return tuple(
            partial_dependence(model.score, columns, feature, resolution=resolution) for feature in features
        )
    except ServingError as error:
        raise DataRefused(f"the model cannot be explained: {error}") from error


# ---- the ways to explain ----------------------------------------------------------------------------------


def _explained(
    model: Model,
    columns: Columns,
    places: tuple[int, ...],
    wish: Wish,
    progress: Progress,
    notes: Sequence[str],
) -> Local:
    names, background = tuple(item.name for item in model.manifest.inputs), model.background(wish.baseline)
    explainer, space = _by_trees(model, wish)
    scores = model.score(columns, space)
    method: Method
    if explainer is not None:
        method, expected = "tree", explainer.expected
        values = np.concatenate(list(_in_parts(explainer, columns, len(places), progress)))
    else:
        games = Games(lambda given: model.score(given, space), names, background, wish.seed)
        found = games.explain(columns, scores, _samples(wish, len(names)), progress)
        method, values, expected = _method(found), found.values, games.expected
    how = How(method, space, wish.aggregation, wish.baseline)
    told = [*notes]
    if (miss := missed(values, expected, scores)) > TOLERATED:
        told.append(f"attributions miss up to {miss:.2g} of a score")
    return Local(names, model.headers, places, values, scores, expected, how, background, tuple(told))


def _by_trees(model: Model, wish: Wish) -> tuple[trees.TreeExplainer | None, Space]:
    """The explainer by trees and what it attributes; None where the model is to be asked."""
    if wish.method not in {"auto", "tree"}:
        return None, wish.space or "scores"
    binary = model.manifest.task == "binary"
    spaces: tuple[Space, ...] = (
        (wish.space,) if wish.space else ("scores", "log_odds") if binary else ("scores",)
    )
    reasons = []
    for space in spaces:
        found = model.tree_explainer(space, wish.baseline)
        if not isinstance(found, str):
            return found, space
        reasons.append(found)
    if wish.method == "tree":
        raise DataRefused(f"TreeSHAP cannot explain the model: {reasons[-1]}; set the method to auto")
    log.info("the model itself is asked: %s", reasons[-1])
    return None, wish.space or "scores"


def _in_parts(
    explainer: trees.TreeExplainer, columns: Columns, rows: int, progress: Progress
) -> Iterator[Numbers]:
    for start in range(0, rows, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        yield explainer.values({name: values[some] for name, values in columns.items()})
        progress(min(rows, start + AT_ONCE), rows)


def _samples(wish: Wish, inputs: int) -> int | None:
    if wish.method != "exact":
        return wish.samples
    if inputs > MOST_EXACT:
        raise DataRefused(
            f"the model has {inputs} inputs, too many to ask about all coalitions; set the method to kernel"
        )
    return kernel.coalitions(inputs)


def _method(found: Asked) -> Method:
    return "exact" if found.exact else "kernel"
