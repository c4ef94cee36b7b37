"""User code written for SageMaker's containers, unmodified: `code/inference.py` becomes a responder.

`model_fn` loads; then `transform_fn`, or `input_fn`, `predict_fn` and `output_fn` with defaults for those
the script leaves out. What a handler raises is the model's failure, unless the error itself carries a status.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import contract, environment
from serving.errors import ModelFailed, RequestRefused, ServingError
from serving.handlers import arrays, script
from serving.handlers.context import Context
from serving.handlers.script import Handler, Handlers, ScriptRefused
from serving.responder import Answer, Request, Responder

_OWN_HEADERS = (contract.CUSTOM_ATTRIBUTES, contract.NEW_SESSION_ID, contract.CLOSED_SESSION_ID)


def load(folder: Path, environ: Mapping[str, str]) -> Responder:
    """The responder of a folder's user code: handlers, or a web application called `app`.

    Raises:
        ServingError: the code cannot be served; the message says why.
    """
    os.environ.setdefault(contract.MODEL_DIR, str(folder))
    module = script.load(script.program(folder, environ))
    if callable(getattr(module, "app", None)) and not hasattr(module, "model_fn"):
        from serving.handlers import byo

        return byo.ready(module.app, environ)
    return ScriptResponder(folder, environ, script.handlers(module))


class ScriptResponder:
    """A model that is loaded and asked by the user's own functions."""

    def __init__(self, folder: Path, environ: Mapping[str, str], found: Handlers | None = None) -> None:
        """Run the script, unless its handlers are given, and load the model.

        Raises:
            ScriptRefused: the script cannot be run, or its handlers contradict each other.
            ModelFailed: a handler raised while the model was loaded.
            EnvironmentInvalid: a variable has an unusable value.
        """
        self._folder = folder
        self._default_accept = environ.get(contract.DEFAULT_ACCEPT) or arrays.JSON
        os.environ.setdefault(contract.MODEL_DIR, str(folder))  # what scripts read by themselves
        found = found or script.handlers(script.load(script.program(folder, environ)))
        self._handlers = found
        self._transform = found.transform_fn or self._three
        self._context = Context(folder)
        if found.pre_model_fn:
            self._run("pre_model_fn", found.pre_model_fn, str(folder))
        self._model = self._run("model_fn", found.model_fn, str(folder))
        if found.model_warmup_fn:
            self._run("model_warmup_fn", found.model_warmup_fn, str(folder), self._model)
        self._parameters = self._execution_parameters(found, environ)

    @property
    def model(self) -> Any:
        """What `model_fn` returned."""
        return self._model

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """See `Responder.execution_parameters`: the script's own, or by the environment."""
        return self._parameters

    def respond(self, request: Request) -> Answer:
        """See `Responder.respond`."""
        self._context = context = Context(self._folder, request.headers)
        content_type = request.content_type.strip() or arrays.JSON
        accept = request.accept.strip()
        if accept in ("", "*/*"):
            accept = self._default_accept
        body = _text(request.body) if arrays.media(content_type) in arrays.TEXT else request.body
        result = self._run("transform_fn", self._transform, self._model, body, content_type, accept)
        return _answer(result, accept, context)

    def _three(self, model: Any, body: str | bytes, content_type: str, accept: str) -> Any:
        """`input_fn`, `predict_fn`, `output_fn`, or what stands for them."""
        own = self._handlers
        if own.input_fn:
            data = self._run("input_fn", own.input_fn, body, content_type)
        else:
            data = arrays.decode(body.encode() if isinstance(body, str) else body, content_type)
        predict = own.predict_fn or _predict
        prediction = self._run("predict_fn", predict, data, model)
        if own.output_fn:
            return self._run("output_fn", own.output_fn, prediction, accept)
        name = arrays.choose(accept)
        return arrays.encode(prediction, name), name

    def _run(self, name: str, function: Handler, *arguments: Any) -> Any:
        if script.takes_context(function, len(arguments)):
            arguments = (*arguments, self._context)
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:  # user code may raise anything
            raise _failure(name, error) from error

    def _execution_parameters(self, found: Handlers, environ: Mapping[str, str]) -> Mapping[str, object]:
        if found.execution_parameters_fn is None:
            cores = len(os.sched_getaffinity(0))
            workers = environment.wanted(environ, cores).workers
            return environment.execution_parameters(environ, workers)
        value = self._run("execution_parameters_fn", found.execution_parameters_fn)
        if not isinstance(value, Mapping):
            try:
                value = json.loads(_response_body(value) if _is_response(value) else value)
            except (ValueError, TypeError):
                value = None
        if not isinstance(value, Mapping):
            raise ScriptRefused("execution_parameters_fn must return a dictionary or a JSON object")
        return dict(value)


def _predict(data: Any, model: Any) -> Any:
    if not hasattr(model, "predict"):
        raise ModelFailed(f"a {type(model).__name__} has no predict(); write a predict_fn")
    return model.predict(data)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestRefused(f"the body is not UTF-8 text: byte {error.start} cannot be decoded") from None


def _failure(name: str, error: BaseException) -> ServingError:
    """What an error of user code means to the caller; an error that carries a status keeps it."""
    if isinstance(error, ServingError):
        return error
    status = getattr(error, "status_code", getattr(error, "code", None))
    if isinstance(error, SystemExit):  # its code is no status
        status = None
    message = f"{name} raised {type(error).__name__}: {getattr(error, 'message', None) or error}"
    if type(error).__name__ == "UnsupportedFormatError":
        status = 406 if name in ("output_fn", "encode") else 415
    if not isinstance(status, int) or not 400 <= status <= 599:
        return ModelFailed(message)
    failure: ServingError = RequestRefused(message) if status < 500 else ModelFailed(message)
    failure.status = status
    return failure


def _answer(result: Any, accept: str, context: Context) -> Answer:
    """What a handler returned, as a response: a value, (body, type), a Response, or parts to stream."""
    content_type, status = accept.partition(",")[0].partition(";")[0].strip(), context.status
    headers = context.answer_headers
    if isinstance(result, tuple) and len(result) == 2:
        result, content_type = result[0], str(result[1] or content_type)
    elif _is_response(result):
        content_type = str(getattr(result, "content_type", None) or result.mimetype or content_type)
        status = int(getattr(result, "status_code", None) or status)
        headers = {**headers, **_own_headers(getattr(result, "headers", None))}
        result = _response_body(result)
    content_type = context.content_type or content_type
    pairs = tuple(headers.items())
    if isinstance(result, Iterator):
        return Answer(status, b"", content_type, pairs, _begun(result))
    return Answer(status, _whole(result, content_type), content_type, pairs)


def _is_response(value: Any) -> bool:
    return hasattr(value, "response") and hasattr(value, "mimetype")


def _own_headers(headers: Any) -> dict[str, str]:
    """Header lines of a Response that go to the caller: SageMaker's own."""
    if headers is None:
        return {}
    named = {str(name).lower(): str(value) for name, value in dict(headers).items()}
    return {name: named[name] for name in _OWN_HEADERS if name in named}


def _response_body(response: Any) -> Any:
    """The body of a Response; Flask keeps it as a list of parts."""
    body = response.response
    return b"".join(_part(part) for part in body) if isinstance(body, list | tuple) else body


def _whole(value: Any, content_type: str) -> bytes:
    """A body from what user code returned as one: bytes and text as they are, else in the format."""
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview | str):
        return _part(value)
    return arrays.encode(value, arrays.choose(content_type))


def _part(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _begun(parts: Iterator[Any]) -> Iterator[bytes]:
    """The parts as bytes; the first is made now, while an error can still be answered with a status."""
    try:
        first: Iterable[Any] = [next(parts)]
    except StopIteration:
        first = []
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise _failure("output_fn", error) from error
    return _rest(itertools.chain(first, parts))


def _rest(parts: Iterator[Any]) -> Iterator[bytes]:
    try:
        for part in parts:
            yield _part(part)
    except SystemExit as error:
        raise _failure("output_fn", error) from error
