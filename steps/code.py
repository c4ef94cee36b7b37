"""Functions and classes that a project file names, imported without leaving traces in this process."""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from steps.errors import CodeFailed

_IMPORTING = threading.RLock()
"""`sys.path` and `sys.modules` belong to the whole process, so one project imports at a time."""


@contextmanager
def project_code(folder: Path) -> Iterator[None]:
    """Make the modules of a project folder importable inside the block.

    Modules of other places that bear the same names are set aside meanwhile and put back afterwards, so two
    projects may both have a `features.py`, and code edited between two builds is read again.
    """
    folder = folder.resolve()
    with _IMPORTING:
        names = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or entry.is_dir()}
        aside = {
            name: module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in names and _shadows(folder, name)
        }
        for name in aside:
            del sys.modules[name]
        before = dict(sys.modules)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name, module in list(sys.modules.items()):
                if module is not before.get(name) and _inside(module, folder):
                    del sys.modules[name]
            sys.modules.update(aside)


def resolve(dotted: str, key: str) -> Any:
    """The object behind `package.module:name` or `package.module.Class`; `key` is where it was named.

    Raises:
        CodeFailed: the module does not import or has no such name.
    """
    module_name, _, name = dotted.partition(":") if ":" in dotted else dotted.rpartition(".")
    if not module_name:
        raise CodeFailed(f"{key}: {dotted!r} names no module; write it as module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise CodeFailed(
            f"{key}: there is no module {error.name!r}; put it beside the project file or install it"
        ) from error
    except Exception as error:
        raise CodeFailed(f"{key}: importing {module_name} failed with {_brief(error)}; repair it") from error
    try:
        return getattr(module, name)
    except AttributeError:
        import difflib

        near = difflib.get_close_matches(name, dir(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; check the spelling"
        raise CodeFailed(f"{key}: module {module_name} has no {name!r}{hint}") from None


def call(dotted: str, key: str, *arguments: Any, **parameters: Any) -> Any:
    """Call a function of the project.

    Raises:
        CodeFailed: it does not import, does not take these arguments, or raised; the message names the line.
    """
    function = resolve(dotted, key)
    if not callable(function):
        raise CodeFailed(f"{key}: {dotted} is not a function; name one that can be called")
    _check_arguments(function, dotted, key, arguments, parameters)
    try:
        return function(*arguments, **parameters)
    except Exception as error:
        raise CodeFailed(f"{key}: {dotted} raised {_brief(error)}; repair the function") from error


def _check_arguments(
    function: Any, dotted: str, key: str, arguments: tuple[Any, ...], parameters: dict[str, Any]
) -> None:
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments, **parameters)
    except TypeError as error:
        raise CodeFailed(
            f"{key}: {dotted}{signature} does not take the parameters of the project file: {error}"
        ) from None


def _brief(error: BaseException) -> str:
    """Type, message and the innermost line, for example `KeyError: 'x' (features.py line 12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name} line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _shadows(folder: Path, name: str) -> bool:
    """Whether the project folder holds the top-level module or package of this name as Python code."""
    top = name.partition(".")[0]
    return (folder / f"{top}.py").is_file() or any((folder / top).glob("*.py"))


def _inside(module: ModuleType | None, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and folder in Path(str(file)).resolve().parents
