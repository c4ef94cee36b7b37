"""From a folder to whatever answers for it: the one place that knows every kind of responder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from serving import contract, package
from serving.environment import EnvironmentInvalid, execution_parameters, flag
from serving.errors import PackageDamaged
from serving.handlers import script
from serving.responder import Responder

QUICK = 0.02
"""Seconds within which a model that is asked on the event loop must answer its sample."""
PIPELINE, MODELS = "pipeline.json", "models.json"
_ASKED = ("MaxConcurrentTransforms", "BatchStrategy")
"""Execution parameters that the environment decides; the payload is what the model's limit says."""
_NOT_EXPLAINED = "SEAWAY_EXPLAIN: only a package of one model can be explained; remove it"


def load(folder: Path, environ: Mapping[str, str]) -> Responder:
    """The responder of an unpacked folder, ready to answer.

    With `SAGEMAKER_MULTI_MODEL`, or a `models.json`, these are the models below it, else see `load_one`.

    Raises:
        ServingError: it cannot be loaded; the message says why.
    """
    if not many(folder, environ):
        return load_one(folder, environ)
    from serving.multimodel import index
    from serving.multimodel import responder as multimodel

    if environ.get("SEAWAY_EXPLAIN"):
        raise EnvironmentInvalid(_NOT_EXPLAINED)
    if (folder / MODELS).is_file():
        index.read(folder)
    return multimodel.load(folder, environ, load_one)


def many(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether a folder holds many models that callers choose from.

    Raises:
        EnvironmentInvalid: `SAGEMAKER_MULTI_MODEL` is neither true nor false.
    """
    return flag(environ, contract.MULTI_MODEL) or (folder / MODELS).is_file()


def load_one(folder: Path, environ: Mapping[str, str]) -> Responder:
    """The responder of one model.

    `seaway.json` means a package, `pipeline.json` a chain of stages, `code/inference.py` the user's handlers.

    Raises:
        ServingError: it cannot be loaded; the message says why.
    """
    if environ.get("SEAWAY_EXPLAIN") and not _explainable(folder):
        raise EnvironmentInvalid(_NOT_EXPLAINED)
    if (folder / PIPELINE).is_file():
        from serving.pipeline import responder as pipeline

        return pipeline.load(folder, environ, load_one)
    if (folder / package.MANIFEST).is_file():
        return _model(folder, environ)
    program = script.program(folder, environ)
    if program.is_file():
        from serving.handlers import responder as handlers

        return handlers.load(folder, environ)
    wanted = f"neither {package.MANIFEST} nor {PIPELINE} nor code/{program.name}"
    raise PackageDamaged(f"{folder.name} is no model: it has {wanted}")


def _explainable(folder: Path) -> bool:
    return (folder / package.MANIFEST).is_file() and not (folder / PIPELINE).is_file()


def _model(folder: Path, environ: Mapping[str, str]) -> Responder:
    from serving.app import Limits
    from serving.model import ModelResponder
    from serving.predictor import load as load_predictor
    from serving.predictor import warm_up

    predictor = load_predictor(folder, environ)
    asked = execution_parameters(environ, 1)
    parameters = {name: asked[name] for name in _ASKED}
    limit, default_accept = Limits.read(environ).payload, environ.get(contract.DEFAULT_ACCEPT, "")
    if environ.get("SEAWAY_EXPLAIN"):
        from serving import explain

        return explain.load(
            folder, environ, predictor, limit=limit, default_accept=default_accept, parameters=parameters
        )
    began = time.perf_counter()
    warm_up(predictor, (folder / package.SAMPLE).read_bytes())
    return ModelResponder(
        predictor,
        limit=limit,
        default_accept=default_accept,
        quick=time.perf_counter() - began < QUICK,
        parameters=parameters,
    )
