"""The samples file: requests of a version that no build of ours made, and the answers expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from configs.load import Problem, ProjectError
from configs.section import Section


class SampleFile(Section):
    """One request in a file, and the file with its answer."""

    name: str = ""
    """Shown in reports; the request's file name when empty."""
    request: str
    """The file that is sent."""
    answer: str = ""
    """The file that must come back; when empty, what came back at registration."""
    content_type: str = ""
    """Of the request; by the file's ending when empty."""
    accept: str = ""
    """What is asked for."""
    target_model: str = ""
    """Key of one of many models."""
    deterministic: bool = True
    """False when the same request may get another answer."""


_LIST: TypeAdapter[list[SampleFile]] = TypeAdapter(Annotated[list[SampleFile], Field(min_length=1)])


def load_samples(path: Path) -> tuple[SampleFile, ...]:
    """Read a samples file; paths in it start where it stands, and are absolute afterwards.

    Raises:
        ProjectError: it is missing, is not YAML, or does not fit.
    """
    try:
        content = yaml.safe_load(path.read_text())
        found = _LIST.validate_python(content)
    except OSError as error:
        raise _refused(path, "", f"cannot be read ({error.strerror}); give a samples file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refused(path, "", f"is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _refused(path, where, f"{first['msg']}; write a list of `- request: FILE`") from error
    return tuple(absolute(one, path.absolute().parent) for one in found)


def absolute(sample: SampleFile, folder: Path) -> SampleFile:
    """The same with paths that start at the root."""
    answer = str((folder / sample.answer).absolute()) if sample.answer else ""
    return sample.model_copy(update={"request": str((folder / sample.request).absolute()), "answer": answer})


def _refused(path: Path, key: str, message: str) -> ProjectError:
    return ProjectError((Problem(str(path), 1, 1, key, message),))
