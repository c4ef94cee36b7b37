"""XGBoost and LightGBM: what converters, packages and threads need to know of them.

They are optional (the extra `boosting`). Nothing here imports them unless a model is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Any

LIBRARIES = ("xgboost", "lightgbm")
OPSET = {"": 21, "ai.onnx.ml": 3}
"""Operator sets that the converters of both libraries write."""
TYPES = (
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "collections.OrderedDict",
)
"""What skops constructs for a fitted one. The boosters read their own file format in native code."""
_DISTRIBUTIONS = {"xgboost": ("xgboost-cpu", "xgboost"), "lightgbm": ("lightgbm",)}


def used(model: Any) -> tuple[str, ...]:
    """Which of the libraries the model is made of, however deep."""
    found, seen, left = set(), set(), [model]
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            left.extend(part)
        elif isinstance(part, dict):
            left.extend(part.values())
        elif hasattr(part, "get_params") and not isinstance(part, type):
            found.add(type(part).__module__.partition(".")[0])
            left.extend(vars(part).values())
    return tuple(library for library in LIBRARIES if library in found)


def requirements(libraries: Iterable[str]) -> tuple[str, ...]:
    """Names of the installed distributions that hold the libraries."""
    return tuple(_distribution(library) for library in libraries)


def limit_threads(model: Any, threads: int) -> Any:
    """The model with `n_jobs` of every estimator of these libraries that leaves it open set to `threads`.

    Without it they take all cores, and answer one row at a time more slowly for it.
    """
    parts = {"": model, **model.get_params(deep=True)}
    ours = {
        f"{name}__n_jobs".removeprefix("__"): threads
        for name, part in parts.items()
        if type(part).__module__.partition(".")[0] in LIBRARIES and not isinstance(part, type)
        if part.get_params().get("n_jobs") is None
    }
    return model.set_params(**ours) if ours else model


def register(libraries: Iterable[str]) -> None:
    """Teach skl2onnx to translate estimators of the libraries.

    Raises:
        ImportError: onnxmltools is not installed.
    """
    for library in libraries:
        {"xgboost": _register_xgboost, "lightgbm": _register_lightgbm}[library]()


def _distribution(library: str) -> str:
    for name in _DISTRIBUTIONS[library]:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    return library


def _register_xgboost() -> None:
    import xgboost
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    def convert(scope: Any, operator: Any, container: Any) -> None:
        """By position: the translation cannot read the names a booster may have learned."""
        booster = operator.raw_operator.get_booster()
        names, booster.feature_names = booster.feature_names, None
        try:
            convert_xgboost(scope, operator, container)
        finally:
            booster.feature_names = names

    _register((xgboost.XGBClassifier, xgboost.XGBRFClassifier), convert, classifier=True)
    _register((xgboost.XGBRegressor, xgboost.XGBRFRegressor), convert, classifier=False)


def _register_lightgbm() -> None:
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    _register((lightgbm.LGBMClassifier,), convert_lightgbm, classifier=True)
    _register((lightgbm.LGBMRegressor,), convert_lightgbm, classifier=False)


def _register(kinds: Iterable[type], convert: Any, *, classifier: bool) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    if classifier:
        options = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
        shape = shapes.calculate_linear_classifier_output_shapes
    else:
        options, shape = {"split": None}, shapes.calculate_linear_regressor_output_shapes
    for kind in kinds:
        name = f"Boosting{kind.__name__}"
        update_registered_converter(kind, name, shape, convert, overwrite=True, options=options)
