"""Explanations on line: what each column contributed to a prediction, beside the prediction.

`load` makes the responder of a package where `SEAWAY_EXPLAIN` asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from serving.environment import EnvironmentInvalid
from serving.explain.settings import EXPLAIN, Settings, parse

if TYPE_CHECKING:
    from serving.codecs import Columns
    from serving.explain.explainer import Explainer
    from serving.explain.game import Score
    from serving.explain.responder import ExplainingResponder
    from serving.manifest import Manifest
    from serving.predictor import Predictor

__all__ = ["EXPLAIN", "Settings", "load", "parse"]

log = logging.getLogger("serving")


def load(
    folder: Path,
    environ: Mapping[str, str],
    predictor: Predictor,
    *,
    limit: int,
    default_accept: str = "",
    parameters: Mapping[str, object],
) -> ExplainingResponder:
    """The responder of an unpacked package that explains as the environment says.

    Args:
        folder: the package.
        environ: with `EXPLAIN`, and the time limit of a request.
        predictor: its loaded model.
        limit: largest body in bytes.
        default_accept: see `serving.model.ModelResponder`.
        parameters: likewise.

    Raises:
        EnvironmentInvalid: a setting is wrong, or the baseline does not fit; the message says what would do.
        ModelFailed: the model cannot answer the baseline.
    """
    from serving.app import Limits
    from serving.explain import baseline
    from serving.explain.explainer import KernelExplainer
    from serving.explain.responder import Explaining, ExplainingResponder
    from serving.explain.settings import players

    if find_spec("jmespath") is None:
        raise EnvironmentInvalid(f"{EXPLAIN} needs jmespath; install it")
    settings = parse(environ[EXPLAIN])
    manifest = predictor.manifest
    if settings.use_logit and manifest.task == "regression":
        raise EnvironmentInvalid(f"{EXPLAIN}: use_logit is for classifiers; remove it")
    features = players(manifest.inputs, settings.groups)
    background = baseline.read(folder, manifest, settings)
    score = _score(predictor, settings)
    explainer, reason = _trees(folder, manifest, background, score, settings)
    if explainer is None:
        explainer = KernelExplainer(
            score, features, background, samples=settings.samples, chance=settings.seed
        )
    seconds = settings.time_share * Limits.read(environ).seconds
    log.info(
        "explaining by %s, up to %g s per request%s", explainer.method, seconds, reason and f"; {reason}"
    )
    fallback = reason if settings.method == "tree" else ""
    explaining = Explaining(explainer, features, settings, seconds, fallback)
    return ExplainingResponder(
        predictor, explaining, limit=limit, default_accept=default_accept, parameters=parameters
    )


def _score(predictor: Predictor, settings: Settings) -> Score:
    """What is attributed; of two runtimes that of small batches, which answers single rows."""
    from serving.explain.game import linked
    from serving.predictor import BySize

    one = predictor.compiled if isinstance(predictor, BySize) else predictor
    return lambda columns: linked(one.predict(columns).scores, logit=settings.use_logit)


def _trees(
    folder: Path, manifest: Manifest, background: Columns, score: Score, settings: Settings
) -> tuple[Explainer | None, str]:
    """The explainer by trees, or None and why there is none."""
    if settings.method == "kernel":
        return None, ""
    if settings.groups:
        return None, "groups are explained by the kernel method only"
    if find_spec("shap") is None:
        return None, "the library shap is not installed; install seaway[explain]"
    import orjson

    from serving import codecs, package
    from serving.explain import trees

    request = orjson.dumps(orjson.loads((folder / package.SAMPLE).read_bytes())["request"])
    sample = codecs.decode(request, codecs.JSON, manifest)
    try:
        return trees.fitting(folder, manifest, background, sample, score, logit=settings.use_logit), ""
    except trees.TreesUnfit as error:
        return None, f"{error}"
