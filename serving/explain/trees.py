"""TreeSHAP through the library shap, where it says exactly what KernelSHAP would say if it asked everything.

That is so for one tree or many whose scores are added up without a link: forests, regression, and boosted
classifiers when log-odds are attributed. The model must see its columns one by one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serving import package
from serving.codecs import Columns
from serving.errors import ServingError
from serving.explain.explainer import MARGIN, Explained
from serving.explain.game import Score
from serving.explain.kernel import Numbers
from serving.manifest import Manifest
from serving.predictor import arranged, load_skops

AT_ONCE = 32
"""Rows per call, so that the clock is looked at."""
TOLERATED = 1e-4
"""Largest error of the sum of attributions, in scores; of large scores, that part of them."""

_ONE_BY_ONE = frozenset(
    {
        "MaxAbsScaler",
        "MinMaxScaler",
        "OrdinalEncoder",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    }
)
"""Transformers of scikit-learn that make one column of each, and look at no other."""


class TreesUnfit(Exception):
    """TreeSHAP cannot explain this model exactly; the message says why."""


class TreeExplainer:
    """Explains by the trained trees.

    Args:
        model: the trained pipeline or estimator.
        inputs: names of the model's inputs, in order.
        baseline: columns of the rows to compare with.
        outputs: scores per row.
        clock: seconds.

    Raises:
        TreesUnfit: the model has no trees, or mixes its columns.
    """

    method = "tree"

    def __init__(
        self,
        model: Any,
        inputs: Sequence[str],
        baseline: Columns,
        outputs: int,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        steps = [step for _, step in getattr(model, "steps", [("", model)])]
        self._order = _order(steps[:-1], list(inputs))
        self._inputs = tuple(inputs)
        self._model, self._before = model, model[:-1] if steps[:-1] else None
        self._outputs = outputs
        self._clock = clock
        with _tolerant():
            try:
                import shap

                self._trees = shap.TreeExplainer(
                    steps[-1], self._arranged(baseline), feature_perturbation="interventional"
                )
                every = np.asarray(self._trees.expected_value, dtype=np.float64).reshape(-1)
            except ImportError:
                raise TreesUnfit("the library shap is not installed") from None
            except Exception as error:  # shap raises what it likes for models it does not know
                raise TreesUnfit(f"shap does not know the model: {_line(error)}") from error
        self.expected: Numbers = every[-outputs:]
        self._seconds = 0.0

    def explain(
        self, columns: Columns, rows: Sequence[int], scores: Numbers, seconds: float
    ) -> list[Explained | None]:
        """See `serving.explain.explainer.Explainer.explain`."""
        del scores  # they follow from the trees
        end = self._clock() + seconds
        found: list[Explained | None] = []
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            if self._seconds * len(some) > MARGIN * (end - self._clock()):
                found.extend([None] * len(some))
                continue
            picked = {name: values[list(some)] for name, values in columns.items()}
            found.extend(Explained(values, None, exact=True) for values in self.values(picked))
        return found

    def values(self, columns: Columns) -> Numbers:
        """Attributions by row, input and output."""
        began = self._clock()
        with _tolerant():
            raw = np.asarray(self._trees.shap_values(self._arranged(columns), check_additivity=False))
        if raw.ndim == 2:
            raw = raw[:, :, None]
        found = np.zeros((len(raw), len(self._inputs), self._outputs))
        found[:, [self._inputs.index(name) for name in self._order]] = raw[:, :, -self._outputs :]
        self._seconds = (self._clock() - began) / len(found)
        return found

    def _arranged(self, columns: Columns) -> Any:
        given = arranged(self._model, columns)
        table = given if self._before is None else self._before.transform(given)
        return np.asarray(table, dtype=np.float64)


def fitting(
    folder: Path, manifest: Manifest, baseline: Columns, sample: Columns, score: Score, *, logit: bool
) -> TreeExplainer:
    """The explainer of a package's trained model, tried on its sample.

    `logit` says that `score` gives log-odds.

    Raises:
        TreesUnfit: there is none that would be exact; the message says why.
    """
    if not (folder / package.SKOPS).is_file():
        raise TreesUnfit(f"the package has no {package.SKOPS}")
    outputs = score(baseline).shape[1]
    try:
        model = load_skops(folder / package.SKOPS, manifest.trusted_types)
        if manifest.task != "regression":
            _check_link(model, binary=manifest.task == "binary", logit=logit)
        made = TreeExplainer(model, [item.name for item in manifest.inputs], baseline, outputs)
        for columns in (baseline, sample):
            expected = score(columns)
            error = np.abs(made.expected + made.values(columns).sum(axis=1) - expected)
            if (error > TOLERATED * np.maximum(1, np.abs(expected))).any():
                raise TreesUnfit(f"its attributions miss the model's scores by {error.max():.3g}")
    except ServingError as error:
        raise TreesUnfit(_line(error)) from error
    except (TypeError, ValueError, IndexError) as error:  # a model that shap or the pipeline takes wrongly
        raise TreesUnfit(f"the trees cannot be asked: {_line(error)}") from error
    return made


def _check_link(model: Any, *, binary: bool, logit: bool) -> None:
    """Refuse early, before shap is imported, what would not add up."""
    kind = type(getattr(model, "steps", [("", model)])[-1][1]).__name__
    boosted = any(part in kind for part in ("Boosting", "LGBM", "XGB"))
    if boosted and not (binary and logit):
        wish = "set use_logit to attribute those" if binary else "which are no probabilities"
        raise TreesUnfit(f"the trees of a {kind} add up to log-odds; {wish}")
    if logit and not boosted:
        raise TreesUnfit(f"the trees of a {kind} add up to probabilities, not to log-odds")


def _order(steps: Sequence[Any], names: list[str]) -> list[str]:
    """The input behind each column that the trees see."""
    for step in steps:
        if type(step).__name__ != "ColumnTransformer":
            _check(step)
            continue
        found: list[tuple[int, str]] = []
        for name, transformer, columns in step.transformers_:
            if isinstance(transformer, str) and transformer == "drop":
                continue
            _check(transformer)
            made = step.output_indices_[name]
            behind = [one if isinstance(one, str) else names[one] for one in columns]
            found.extend(zip(range(made.start, made.stop), behind, strict=True))
        names = [name for _, name in sorted(found)]
    return names


def _check(step: Any) -> None:
    """Refuse what does not make one column of each."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return
    inner = getattr(step, "steps", None)
    if inner is not None:
        for _, one in inner:
            _check(one)
        return
    kind = type(step)
    passed = kind.__name__ == "FunctionTransformer" and step.func is None
    known = kind.__module__.startswith("sklearn.") and kind.__name__ in _ONE_BY_ONE
    if not (known or passed):
        raise TreesUnfit(f"{kind.__name__} makes other columns than the model's inputs")


@contextmanager
def _tolerant() -> Iterator[None]:
    """What other libraries deprecate is no business of a request."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
