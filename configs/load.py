"""The only reader of project files: YAML text to one frozen value, or one error that lists every problem."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from configs.project import Hosting, Project

Place = tuple[int, int]
"""Line and column, counted from 1."""
_MAKING = {"data", "process", "train"}
_Kind = TypeVar("_Kind", bound=Hosting)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    file: str
    line: int
    column: int
    key: str
    """Dotted, for example `production.rollout.strategy[0].bake`; empty for the whole file."""
    message: str

    def __str__(self) -> str:
        """As compilers print it, so that editors can jump there."""
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {key}{self.message}"


class ProjectError(ValueError):
    """The project file cannot be used; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class LoadedHosting:
    """A project file of which the part about approval and endpoints was asked for."""

    project: Hosting
    """A whole `Project` when the file has one."""
    file: Path
    """The file, absolute."""
    text: str
    """The file as written, comments and all."""

    @property
    def folder(self) -> Path:
        """Where the file stands; its relative paths and its functions start there."""
        return self.file.parent


@dataclass(frozen=True, slots=True)
class LoadedProject(LoadedHosting):
    """A project file that was read."""

    project: Project


def load(path: Path | str) -> LoadedProject:
    """Read a project file, or `project.yaml` of a folder.

    Raises:
        ProjectError: the file is missing, is not YAML in UTF-8, or does not fit the schema.
    """
    file, text = _text(Path(path))
    return LoadedProject(parse(text, str(file)), file.absolute(), text)


def load_hosting(path: Path | str) -> LoadedHosting:
    """Read a project file that may lack everything that makes a model: data, process, train.

    Raises:
        ProjectError: as `load`; a file that has one of the three must have all of them.
    """
    file, text = _text(Path(path))
    data = _plain(text, str(file))
    kind = Project if _MAKING & set(data) else Hosting
    return LoadedHosting(_checked(kind, data, text, str(file)), file.absolute(), text)


def restore(content: bytes | str) -> Hosting:
    """The project that `dump` wrote as JSON; a whole `Project` when it was one.

    Raises:
        ValueError: it was not written by `dump`.
    """
    found = json.loads(content)
    whole = isinstance(found, dict) and _MAKING & set(found)
    return (Project if whole else Hosting).model_validate_json(content)


def _text(path: Path) -> tuple[Path, str]:
    file = path / "project.yaml" if path.is_dir() else path
    try:
        return file, file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _whole(file, "there is no such file; give the path of a project file") from None
    except UnicodeDecodeError as error:
        raise _whole(file, f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise _whole(file, f"cannot be read ({error.strerror}); check its permissions") from None


def parse(text: str, file: str = "project.yaml") -> Project:
    """The project that YAML text describes; `file` is only named in errors.

    Raises:
        ProjectError: the text is not YAML or does not fit the schema.
    """
    return _checked(Project, _plain(text, file), text, file)


def _plain(text: str, file: str) -> dict[str, Any]:
    """The text as plain values."""
    root = _compose(text, file)
    if duplicates := tuple(_duplicates(root, (), file)):
        raise ProjectError(duplicates)
    try:
        data: dict[str, Any] = _Loader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, file) from None
    return data


def _checked(kind: type[_Kind], data: dict[str, Any], text: str, file: str) -> _Kind:
    """The values as a project of a kind; what is wrong is found again in the text."""
    try:
        return kind.model_validate_json(json.dumps(data))
    except TypeError as error:
        raise _whole(file, f"holds a value that JSON does not know ({error}); use plain values") from None
    except ValidationError as error:
        root, known = _compose(text, file), kind.model_json_schema(by_alias=True, mode="validation")
        details = error.errors(include_url=False, include_context=False, include_input=False)
        problems = (
            _problem(root, known, detail["loc"], detail["type"], detail["msg"], file)
            for detail in details
            if not _follows(detail["type"], detail["loc"], [other["loc"] for other in details])
        )
        raise ProjectError(tuple(sorted(problems, key=lambda one: (one.line, one.column)))) from None


def schema() -> dict[str, Any]:
    """JSON Schema of the project file, for editors (`# yaml-language-server: $schema=...`)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Project.model_json_schema(by_alias=True, mode="validation"),
    }


def dump(project: Hosting) -> dict[str, Any]:
    """Every setting with its default filled in, as plain JSON data that reads back to an equal project.

    The number of instances is left out of a serverless endpoint whose file does not say it.
    """
    content = project.model_dump(mode="json", by_alias=True)
    if project.production.serverless and not project.production.serverless_instances:
        del content["production"]["instance_count"]
    return content


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `no` is text, `010` is ten, and dates stay text."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def integer(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        return int(text, 0) if text[1:2] in {"x", "o"} else int(text)


_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.integer)


def _whole(file: Path | str, message: str) -> ProjectError:
    return ProjectError((Problem(str(file), 1, 1, "", message),))


def _syntax(error: yaml.MarkedYAMLError, file: str) -> ProjectError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = f"is not YAML: {error.problem or error.context}; check the indentation and quotes here"
    return ProjectError((Problem(file, line, column, "", message),))


def _compose(text: str, file: str) -> yaml.MappingNode:
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, file) from None
    except yaml.YAMLError as error:
        raise _whole(file, f"is not YAML: {str(error).splitlines()[0]}") from None
    if root is None:
        raise _whole(
            file,
            "is empty; a project needs at least name, model, data, process, train, staging and production",
        )
    if not isinstance(root, yaml.MappingNode):
        raise _whole(file, "is not a mapping; a project file is made of `key: value` lines")
    return root


def _duplicates(
    node: yaml.Node, path: tuple[Any, ...], file: str, above: tuple[yaml.Node, ...] = ()
) -> Iterator[Problem]:
    """Keys written twice, of which YAML would silently drop the first, and values that hold themselves."""
    if node in above:
        yield Problem(file, *_place(node), _dotted(path), "contains itself; remove the alias inside")
        return
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, (*path, index), file, above)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        line, column = _place(key)
        if name in first:
            message = f"is written twice, first in line {first[name]}; remove one"
            yield Problem(file, line, column, _dotted((*path, name)), message)
        first.setdefault(name, line)
        yield from _duplicates(value, (*path, name), file, above)


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _problem(
    root: yaml.MappingNode, known: dict[str, Any], loc: tuple[Any, ...], kind: str, message: str, file: str
) -> Problem:
    """A pydantic error, with its position in the text."""
    path, place = _locate(root, loc)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _keys(known, known, loc[:-1]), n=1)
        message = "is not a known key" + (f"; did you mean {near[0]}?" if near else "")
    elif kind == "missing":
        message = "is required but missing; add it here"
    else:
        message = message.removeprefix("Value error, ")
    return Problem(file, *place, _dotted(path), message)


def _follows(kind: str, loc: tuple[Any, ...], others: list[tuple[Any, ...]]) -> bool:
    """A sequence counts as too short when its items are wrong: only the items are worth telling."""
    return kind == "too_short" and any(len(other) > len(loc) and other[: len(loc)] == loc for other in others)


def _locate(root: yaml.Node, loc: tuple[Any, ...]) -> tuple[tuple[Any, ...], Place]:
    """The path without pydantic's union tags, and where its deepest part stands."""
    node: yaml.Node = root
    place = _place(root)
    path: list[Any] = []
    for index, part in enumerate(loc):
        found = _child(node, part)
        if found is not None:
            place, node = _place(found[0]), found[1]
        elif index < len(loc) - 1:
            continue
        path.append(part)
    return tuple(path), place


def _child(node: yaml.Node, part: Any) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _dotted(path: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _keys(known: dict[str, Any], node: dict[str, Any], loc: tuple[Any, ...]) -> list[str]:
    """The keys the schema allows at a place; `loc` is pydantic's, with union tags."""
    node = _resolve(known, node)
    if not loc:
        return list(node.get("properties", {}))
    part, rest = loc[0], loc[1:]
    if reference := node.get("discriminator", {}).get("mapping", {}).get(part):
        return _keys(known, {"$ref": reference}, rest)
    child = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    child = child or node.get("additionalProperties")
    return _keys(known, child, rest) if isinstance(child, dict) else []


def _resolve(known: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Follow references and optional values to the schema that lists the keys."""
    while True:
        if "$ref" in node:
            node = known["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif optional := [one for one in node.get("anyOf", ()) if "$ref" in one]:
            node = optional[0]
        else:
            return node
