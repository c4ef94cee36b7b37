"""The management calls of a multi-model container: load, list, show, unload and invoke by name."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

import orjson

from serving.answers import JSON, failure
from serving.errors import BadBody, RequestRefused, ServingError
from serving.responder import Answer, Request

PAGE = 100
"""Models in one answer of `GET /models`."""
ERROR_TYPE = "x-amzn-errortype"
_PATH = re.compile(r"/models(?:/(?P<name>.+?)(?P<act>/invoke)?)?/?")
_NAME = re.compile(r"(?!.*(?:/|/invoke)\Z)[\x21-\x7e][\x20-\x7e]{0,1023}")
"""An opaque id, but none that a path could not tell from a call."""


@dataclass(frozen=True, slots=True)
class Managed:
    """A loaded model as it is shown."""

    name: str
    url: str

    @property
    def shown(self) -> dict[str, str]:
        """With the names of the container contract."""
        return {"modelName": self.name, "modelUrl": self.url}


class Models(Protocol):
    """What these calls act on."""

    @property
    def loaded(self) -> tuple[Managed, ...]:
        """All loaded models."""
        ...

    def load(self, name: str, url: str) -> None:
        """Load a model."""
        ...

    def unload(self, name: str) -> None:
        """Unload a model."""
        ...

    def invoke(self, name: str, request: Request) -> Answer:
        """Ask a loaded model."""
        ...


def manage(models: Models, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
    """The answer to a path `/models...`, percent-decoded; None when it is another.

    Only of `/models` itself the query is part of `path`: a name may hold a question mark.
    """
    listing = path.startswith("/models?")
    where, _, query = path.partition("?") if listing else (path, "", "")
    found = _PATH.fullmatch(where)
    if found is None:
        return None
    try:
        if found["name"] is None:
            return _all(models, method, query, body)
        return _one(models, method, found["name"], found["act"], headers, body)
    except RequestRefused as error:
        return failure(error.status, str(error), field=error.field, row=error.row)
    except ServingError as error:
        return failure(error.status, str(error))


def refusal(status: int, message: str) -> Answer:
    """What a caller of the runtime API did wrong, as its `ValidationError`."""
    body = orjson.dumps({"error": message, "message": message})
    return Answer(status, body, JSON, ((ERROR_TYPE, "ValidationError"),))


def page(models: tuple[Managed, ...], token: str) -> dict[str, object]:
    """One page of models by name; `nextPageToken` is there when more follow.

    Raises:
        BadBody: the token is none of ours.
    """
    after = _name_of(token) if token else ""
    rest = sorted((one for one in models if one.name > after), key=lambda one: one.name)
    shown: dict[str, object] = {"models": [one.shown for one in rest[:PAGE]]}
    if len(rest) > PAGE:
        shown["nextPageToken"] = base64.urlsafe_b64encode(rest[PAGE - 1].name.encode()).decode()
    return shown


def _all(models: Models, method: str, query: str, body: bytes) -> Answer:
    if method == "GET":
        token = parse_qs(query).get("next_page_token", [""])[0]
        return _json(page(models.loaded, token))
    if method != "POST":
        return _not_allowed("/models", "GET, POST", method)
    name, url = _wanted(body)
    models.load(name, url)
    return _json(Managed(name, url).shown)


def _one(
    models: Models,
    method: str,
    name: str,
    act: str | None,
    headers: Mapping[str, str],
    body: bytes,
) -> Answer:
    if act:
        if method != "POST":
            return _not_allowed("/models/{model}/invoke", "POST", method)
        kind = headers.get("contenttype") or headers.get("content-type") or ""
        return models.invoke(name, Request(body, kind, headers.get("accept") or "", headers))
    if method == "DELETE":
        models.unload(name)
        return Answer(200)
    if method != "GET":
        return _not_allowed("/models/{model}", "GET, DELETE", method)
    found = next((one for one in models.loaded if one.name == name), None)
    if found is None:
        return failure(404, f"no model {name} is loaded")
    return _json(found.shown)


def _wanted(body: bytes) -> tuple[str, str]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    name, url = (content.get("model_name"), content.get("url")) if isinstance(content, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(url, str) or not name or not url:
        raise BadBody('send {"model_name": "...", "url": "..."}, both texts')
    if not _NAME.fullmatch(name):
        raise BadBody("model_name must be 1 to 1024 printable ASCII characters and not end in / or /invoke")
    return name, url


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:
        raise BadBody("next_page_token must be the nextPageToken of the page before") from None


def _json(content: object) -> Answer:
    return Answer(200, orjson.dumps(content), JSON)


def _not_allowed(path: str, allowed: str, method: str) -> Answer:
    said = failure(405, f"{path} takes {allowed}, not {method}")
    return Answer(405, said.body, JSON, (("allow", allowed),))
