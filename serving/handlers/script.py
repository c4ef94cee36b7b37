"""The user's `inference.py`: find it, load it as the file it is, check which handlers it defines."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from serving import contract
from serving.environment import flag
from serving.errors import Permanent

Handler = Callable[..., Any]
HANDLERS = (
    "model_fn",
    "input_fn",
    "predict_fn",
    "output_fn",
    "transform_fn",
    "pre_model_fn",
    "model_warmup_fn",
    "execution_parameters_fn",
)
_THREE = ("input_fn", "predict_fn", "output_fn")


class ScriptRefused(Permanent):
    """The user's code cannot be served; the message says what to change in it."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What a script defines; None for what it leaves to the defaults."""

    model_fn: Handler
    input_fn: Handler | None = None
    predict_fn: Handler | None = None
    output_fn: Handler | None = None
    transform_fn: Handler | None = None
    pre_model_fn: Handler | None = None
    model_warmup_fn: Handler | None = None
    execution_parameters_fn: Handler | None = None


def program(folder: Path, environ: Mapping[str, str]) -> Path:
    """The script to serve a model folder with; the file need not exist.

    A folder in `SAGEMAKER_SUBMIT_DIRECTORY` goes before the archive's own `code`, but not where each of
    many models brings its own.
    """
    name = environ.get(contract.PROGRAM) or contract.SERVING_PROGRAM
    given = environ.get(contract.SUBMIT_DIRECTORY, "").removeprefix("file://")
    if given and not flag(environ, contract.MULTI_MODEL):
        elsewhere = Path(given) / name
        if elsewhere.is_file():
            return elsewhere
    return folder / "code" / name


def load(path: Path) -> ModuleType:
    """Run a script and return it as a module; its folder goes to the front of the import path.

    SageMaker's toolkits, which such scripts import, are offered where they are not installed.

    Modules of the same name from another model's folder are set aside first: each model gets its own.

    Raises:
        ScriptRefused: there is no such file, or running it raised.
    """
    if not path.is_file():
        raise ScriptRefused(f"there is no {path.parent.name}/{path.name}; put the handlers there")
    _set_aside(path.parent)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()
    from serving.handlers import toolkits  # numpy and the codecs: what only stands before models does without

    toolkits.offer()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ScriptRefused(f"{path.name} is no Python file; name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # what the model's file may refer to by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may parse arguments at its top
        del sys.modules[path.stem]
        raise ScriptRefused(f"{path.name} cannot be run: {type(error).__name__}: {error}") from error
    return module


_folders: set[Path] = set()


def _set_aside(folder: Path) -> None:
    """Forget what was imported from other models' folders, and look into them no more."""
    others = _folders - {folder}
    below = tuple(f"{other}{os.sep}" for other in others)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and file.startswith(below):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if f"{entry}{os.sep}" not in below]
    _folders.add(folder)


def handlers(module: ModuleType) -> Handlers:
    """The handlers of a module.

    Raises:
        ScriptRefused: they contradict each other, one is no function, or `model_fn` is missing.
    """
    found = {name: getattr(module, name) for name in HANDLERS if getattr(module, name, None) is not None}
    file = f"{module.__name__}.py"
    for name, value in found.items():
        if not callable(value):
            raise ScriptRefused(f"{name} in {file} is no function; define it with def")
    if "transform_fn" in found and (clash := [name for name in _THREE if name in found]):
        raise ScriptRefused(
            f"{file} defines transform_fn and {', '.join(clash)}; keep transform_fn alone or the other three"
        )
    if "model_fn" not in found:
        raise ScriptRefused(f"{file} must define model_fn(model_dir); it returns the loaded model")
    return Handlers(**found)


def takes_context(function: Handler, arguments: int) -> bool:
    """Whether a handler that is given `arguments` values has room for the context as one more.

    A further parameter with a default of its own is the user's business, unless it is called `context`.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built-in functions may have no signature
        return False
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(places) != arguments + 1:
        return False
    return places[-1].default is inspect.Parameter.empty or places[-1].name == "context"
