"""How good a model is on rows it never saw: with intervals, by slice, beside the champion."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.project import Project
from steps import bias, metrics, scoring
from steps import table as tables
from steps.errors import EvaluationRefused
from steps.metrics import Floats, Scored

if TYPE_CHECKING:
    import polars as pl

REPORT = "evaluation.json"
SMALL = 200
"""Slices with fewer rows, or fewer than `FEW` of some class, are flagged: their figures say little."""
FEW = 10
MOST_VALUES = 40
"""Values of a slice column that are shown on their own; rarer ones are put together."""
_BLOCK = 2_000_000
"""Weights held in memory at a time."""
_CURVE = 201
_ALL = (None, None)
"""The part that holds every row; the others are (column, value)."""
_BINS = 10

Score = Callable[["pl.DataFrame"], Floats]
"""Rows to scores: probability of the second class, one column a class, or the number."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in production."""

    name: str
    score: Score


def run(
    project: Project,
    project_folder: Path,
    processed: Path,
    trained: Path,
    out: Path,
    champion: Champion | None = None,
) -> dict[str, Any]:
    """Score the hold-out rows with the trained model (and the champion) and write `evaluation.json`.

    With `evaluate.bias` also `analysis.json`, as SageMaker Clarify writes it.

    Returns:
        The report: see `report`.

    Raises:
        EvaluationRefused: scores are not finite, or the champion cannot score these rows.
    """
    from steps import train

    _, rows = tables.split(tables.read(processed), project)
    model = train.load(trained, project_folder)
    classes = None if project.train.task == "regression" else list(model.classes_)
    found = report(rows, project, classes, model_score(model, project), champion)
    if found["bias"]:
        bias.write(found["bias"]["analysis"], out)
    (out / REPORT).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def model_score(model: Any, project: Project) -> Score:
    """A scikit-learn model as a function of rows."""
    task, features = project.train.task, project.data.features

    def score(rows: pl.DataFrame) -> Floats:
        from threadpoolctl import threadpool_limits

        seen = tables.matrix(rows, features)
        with threadpool_limits(limits=1):
            given = model.predict(seen) if task == "regression" else model.predict_proba(seen)
        given = np.asarray(given, dtype=np.float64)
        return given[:, 1] if task == "binary" else given

    return score


def package_score(folder: Path) -> Score:
    """The model of an unpacked package as a function of rows; columns it does not know are ignored.

    Raises:
        serving.errors.ServingError: the package cannot be loaded.
    """
    from serving import predictor

    loaded = predictor.load(folder)

    def score(rows: pl.DataFrame) -> Floats:
        if lacking := scoring.lacking(loaded, rows):
            raise EvaluationRefused(
                f"the champion needs the columns {', '.join(lacking)}, which the table does not have; "
                "keep them in process.function (they need not be features)"
            )
        return np.asarray(scoring.predictions(loaded, rows).scores, dtype=np.float64)

    return score


def report(
    rows: pl.DataFrame, project: Project, classes: list[Any] | None, score: Score, champion: Champion | None
) -> dict[str, Any]:
    """Everything that is to be known of a model on its hold-out rows, as plain data.

    Keys: `task rows holdout classes metrics slices champion bias calibration confusion roc bootstrap
    confidence seed`. A metric is `{value, low, high}`, None where it is not defined. `slices` has per column
    a list of `{value, rows, small, metrics}`. `champion` is None or `{name, metrics, difference, slices}`; a
    difference is challenger minus champion. `bias` is None or `{analysis, notes}`.

    Raises:
        EvaluationRefused: scores are not finite, or do not fit the task.
    """
    truth = _truth(rows, project, classes)
    own = _scored(truth, score(rows), "the model")
    other = _champion(rows, own, champion) if champion else None
    parts: dict[Any, NDArray[np.intp]] = {_ALL: np.arange(rows.height), **_slices(rows, project)}
    found = _estimates(own, other, parts, project)
    return {
        "task": project.train.task,
        "rows": rows.height,
        "holdout": _span(rows, project),
        "classes": None if classes is None else [_plain(one) for one in classes],
        "metrics": found[_ALL]["own"],
        "slices": _by_column(found, parts, truth, project, "own"),
        "champion": champion
        and {
            "name": champion.name,
            "metrics": found[_ALL]["other"],
            "difference": found[_ALL]["difference"],
            "slices": _by_column(found, parts, truth, project, "difference"),
        },
        "bias": _bias(rows, project, classes, own),
        **_shapes(own, project.train.task, classes),
        "bootstrap": project.evaluate.bootstrap,
        "confidence": project.evaluate.confidence,
        "seed": project.train.seed,
    }


def _bias(
    rows: pl.DataFrame, project: Project, classes: list[Any] | None, own: Scored
) -> dict[str, Any] | None:
    if project.evaluate.bias is None:
        return None
    found = bias.of_holdout(rows, project, classes, own)
    return {"analysis": found.documents.get(bias.ANALYSIS, {}), "notes": list(found.notes)}


def _champion(rows: pl.DataFrame, own: Scored, champion: Champion) -> Scored:
    other = _scored(own.truth, champion.score(rows), f"champion {champion.name}")
    if other.scores.shape != own.scores.shape:
        raise EvaluationRefused(
            f"champion {champion.name} gives scores of shape {other.scores.shape} instead of "
            f"{own.scores.shape}; a model with other classes needs another model name"
        )
    return other


def _truth(rows: pl.DataFrame, project: Project, classes: list[Any] | None) -> NDArray[Any]:
    target = rows[project.data.target].to_numpy()
    if classes is None:
        return np.asarray(target, dtype=np.float64)
    position = {_plain(one): index for index, one in enumerate(classes)}
    unseen = sorted({str(one) for one in target.tolist() if one not in position})
    if unseen:
        raise EvaluationRefused(
            f"data.target: the hold-out has the classes {', '.join(unseen)} that no training row "
            "has; give more data"
        )
    return np.array([position[one] for one in target.tolist()], dtype=np.intp)


def _scored(truth: NDArray[Any], scores: Floats, whose: str) -> Scored:
    scores = np.asarray(scores, dtype=np.float64)
    if len(scores) != len(truth):
        raise EvaluationRefused(f"{whose} gave {len(scores)} scores for {len(truth)} rows; give one for each")
    if bad := int((~np.isfinite(scores)).reshape(len(truth), -1).any(axis=1).sum()):
        raise EvaluationRefused(
            f"{whose} gave scores that are not finite for {bad} rows; it cannot be trusted"
        )
    return Scored(truth, scores)


def _slices(rows: pl.DataFrame, project: Project) -> dict[tuple[str, str], NDArray[np.intp]]:
    """Row numbers of every value of every slice column, most frequent first."""
    import polars as pl

    found = {}
    for name in project.evaluate.slices:
        text = rows[name].cast(pl.String).fill_null("")
        groups = (
            pl.DataFrame({"value": text})
            .with_row_index("row")
            .group_by("value", maintain_order=True)
            .agg(pl.col("row"))
            .sort(pl.col("row").list.len(), descending=True, maintain_order=True)
        )
        for value, members in groups.head(MOST_VALUES).iter_rows():
            found[name, value or "(missing)"] = np.asarray(members, dtype=np.intp)
        if groups.height > MOST_VALUES:
            rest = groups[MOST_VALUES:]["row"].explode().sort().to_numpy()
            found[name, "(other)"] = rest.astype(np.intp)
    return found


def _estimates(
    own: Scored, other: Scored | None, parts: Mapping[Any, NDArray[np.intp]], project: Project
) -> dict[Any, dict[str, Any]]:
    """Per part the metrics of the model, of the champion, and their paired difference."""
    task = project.train.task
    scored = {"own": own} if other is None else {"own": own, "other": other}
    some = {(part, whose): one.part(rows) for part, rows in parts.items() for whose, one in scored.items()}
    exact = {at: metrics.measure(task, one, np.ones((len(one.truth), 1))) for at, one in some.items()}
    drawn: dict[Any, list[dict[str, Floats]]] = {at: [] for at in some}
    for weights in _resamples(len(own.truth), project.evaluate.bootstrap, project.train.seed):
        for part, rows in parts.items():
            share = weights[rows]
            for whose in scored:
                drawn[part, whose].append(metrics.measure(task, some[part, whose], share))
    result: dict[Any, dict[str, Any]] = {}
    for part in parts:
        values = {
            whose: {
                name: (float(value[0]), np.concatenate([block[name] for block in drawn[part, whose]]))
                for name, value in exact[part, whose].items()
            }
            for whose in scored
        }
        if other is not None:
            values["difference"] = {
                name: (mine - values["other"][name][0], draws - values["other"][name][1])
                for name, (mine, draws) in values["own"].items()
            }
        result[part] = {
            whose: {name: _interval(*pair, project.evaluate.confidence) for name, pair in by_name.items()}
            for whose, by_name in values.items()
        }
    return result


def _resamples(rows: int, count: int, seed: int) -> Iterator[Floats]:
    """Blocks of bootstrap weights: how often each row was drawn."""
    random = np.random.default_rng(seed)
    size = max(1, min(count, _BLOCK // rows))
    for start in range(0, count, size):
        draws = (random.integers(0, rows, rows) for _ in range(min(size, count - start)))
        yield np.stack([np.bincount(draw, minlength=rows) for draw in draws], axis=1).astype(np.float64)


def _interval(value: float, draws: Floats, confidence: float) -> dict[str, float] | None:
    """Percentile interval, or None when the metric is undefined here or in a tenth of the resamples."""
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(defined) < 0.9 * len(draws):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def _by_column(
    estimates: Mapping[Any, dict[str, Any]],
    parts: Mapping[Any, NDArray[np.intp]],
    truth: NDArray[Any],
    project: Project,
    whose: str,
) -> dict[str, list[dict[str, Any]]]:
    by_column: dict[str, list[dict[str, Any]]] = {name: [] for name in project.evaluate.slices}
    for (column, value), members in parts.items():
        if column is not None:
            entry = {
                "value": value,
                "rows": len(members),
                "small": _small(truth[members], project.train.task),
            }
            by_column[column].append({**entry, "metrics": estimates[column, value][whose]})
    return by_column


def _small(truth: NDArray[Any], task: str) -> bool:
    if len(truth) < SMALL or task == "regression":
        return len(truth) < SMALL
    counts = np.bincount(truth)
    return bool(task == "binary" and (len(counts) < 2 or counts.min() < FEW))


def _shapes(own: Scored, task: str, classes: list[Any] | None) -> dict[str, Any]:
    """Calibration table, confusion matrix and ROC curve, None where the task has none."""
    if classes is None:
        return {"calibration": None, "confusion": None, "roc": None}
    ones = np.ones((len(own.truth), 1))
    cells = metrics.confusion(own, ones)[:, :, 0].astype(int).tolist()
    matrix = {"labels": [_plain(one) for one in classes], "counts": cells}
    if task != "binary":
        return {"calibration": None, "confusion": matrix, "roc": None}
    return {"calibration": calibration(own), "confusion": matrix, "roc": roc(own)}


def calibration(scored: Scored, bins: int = _BINS) -> list[dict[str, float]]:
    """Mean score and observed share of the second class in groups of equal size, lowest scores first."""
    order = np.argsort(scored.scores, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [
        {
            "score": float(scored.scores[group].mean()),
            "observed": float((scored.truth[group] == 1).mean()),
            "rows": len(group),
        }
        for group in groups
    ]


def roc(scored: Scored) -> dict[str, list[float]]:
    """False and true positive rates at about two hundred thresholds."""
    order = np.argsort(-scored.scores, kind="stable")
    hits = scored.truth[order] == 1
    last = np.flatnonzero(np.r_[np.diff(scored.scores[order]) != 0, True])
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    shown = np.unique(np.searchsorted(false, np.linspace(0, false[-1], _CURVE)).clip(max=len(false) - 1))
    return {
        "fpr": [0.0, *(false[shown] / max(1, false[-1])).tolist(), 1.0],
        "tpr": [0.0, *(true[shown] / max(1, true[-1])).tolist(), 1.0],
    }


def _span(rows: pl.DataFrame, project: Project) -> dict[str, Any]:
    time = project.data.time
    span = {"from": str(rows[time][0]), "to": str(rows[time][-1])} if time else {"from": None, "to": None}
    return {"share": project.evaluate.holdout, "time": time, **span}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
