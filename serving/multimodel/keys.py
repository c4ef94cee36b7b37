"""From a key, as `TargetModel` has it, to a place below the models' root, and never beside it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from serving.errors import RequestRefused

LONGEST = 1024
"""Characters of a key."""
ARCHIVE = ".tar.gz"


class KeyRefused(RequestRefused):
    """The key is none."""


class KeyUnknown(KeyRefused):
    """There is no such model."""

    status = 404


def find(root: Path, key: str) -> Path:
    """The archive or the unpacked folder that a key names.

    Raises:
        KeyRefused: it could not be the key of a model.
        KeyUnknown: there is no such model.
    """
    path = PurePosixPath(key)
    wrong = not path.parts or path.is_absolute() or "\\" in key or len(key) > LONGEST or not key.isprintable()
    if wrong or any(part.startswith(".") for part in path.parts):
        raise KeyRefused("the key of a model is a path below the models' root, like churn/v3.tar.gz")
    base = root.resolve()
    try:
        found = (base / path).resolve()
        archive = found.is_file() and found.name.endswith(ARCHIVE)
        known = found.is_relative_to(base) and (archive or is_model(found))
    except (OSError, RuntimeError):  # too long a name, links in a circle
        known = False
    if not known:
        raise KeyUnknown(f"there is no model {key[:200]}; put its archive or folder below the models' root")
    return found


def is_model(folder: Path) -> bool:
    """A folder with a model in it, and no folder of models."""
    marks = ("seaway.json", "pipeline.json", "code")
    return folder.is_dir() and any((folder / name).exists() for name in marks)
