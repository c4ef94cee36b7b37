"""What scripts import from SageMaker's toolkits, for servers where these are not installed.

`sagemaker_containers` and `sagemaker_inference` bring Flask, gevent and a server of their own; handlers use
their content types, encoders, errors and `worker.Response`. These are here, over `serving.handlers.arrays`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

import numpy as np

from serving.handlers import arrays

BETA: Final = "sagemaker_containers.beta.framework"
INFERENCE: Final = "sagemaker_inference"


class UnsupportedFormatError(Exception):
    """A format that the toolkit neither reads nor writes."""

    def __init__(self, content_type: str, **_more: Any) -> None:
        super().__init__(f"content type {content_type} is not supported; write an input_fn or an output_fn")


class ClientError(Exception):
    """A mistake of the caller."""


class BaseInferenceToolkitError(Exception):
    """An error that says what the answer is."""

    def __init__(self, status_code: int, message: str, phrase: str = "") -> None:
        super().__init__(message)
        self.status_code, self.message, self.phrase = status_code, message, phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    """The same; 500 with no message of its own stands for what went wrong inside."""

    def __init__(self, status_code: int, message: str = "", phrase: str = "") -> None:
        super().__init__(status_code, message or "Invalid Request", phrase)


class Response:
    """An answer with its format; `accept` is taken and not used, as in the toolkit."""

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,  # noqa: ARG002 - their signature
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        mimetype: str | None = None,
        direct_passthrough: bool = False,  # noqa: ARG002, FBT001, FBT002 - their signature
    ) -> None:
        self.response = b"" if response is None else response
        self.status_code = status
        self.headers = dict(headers or {})
        self.mimetype = mimetype or arrays.JSON


class DefaultInferenceHandler:
    """The toolkit's base class of handlers: decodes and encodes."""

    def default_model_fn(self, model_dir: str, context: Any = None) -> Any:
        """Loading is the script's own business."""
        raise NotImplementedError("write a model_fn(model_dir); it returns the loaded model")

    def default_input_fn(self, input_data: Any, content_type: str, context: Any = None) -> Any:  # noqa: ARG002
        """The body as an array."""
        return decode(input_data, content_type)

    def default_predict_fn(self, data: Any, model: Any, context: Any = None) -> Any:  # noqa: ARG002
        """What the model's `predict` says."""
        return model.predict(data)

    def default_output_fn(self, prediction: Any, accept: str, context: Any = None) -> Any:  # noqa: ARG002
        """The prediction in the format that is accepted, and its name."""
        return encode(prediction, accept), accept


class _Offered(ModuleType):
    """A module of ours below a toolkit's name."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self.__name__}.{name} is not offered here; install the toolkit if the script needs it"
        )


def decode(obj: str | bytes, content_type: str) -> arrays.Array:
    """The array that a body holds, with at least two dimensions.

    Raises:
        UnsupportedContentType: it is in no format that is read.
        BadBody: it holds no table of numbers.
    """
    return _decoded(obj, content_type, np.float64)


def _decoded(obj: str | bytes, content_type: str, dtype: Any) -> arrays.Array:
    return arrays.decode(obj.encode() if isinstance(obj, str) else obj, content_type, dtype)


def encode(array_like: Any, content_type: str) -> str | bytes:
    """The array in the first accepted format that is written: text for JSON and CSV.

    Raises:
        NotAcceptable: there is none.
    """
    name = arrays.choose(content_type)
    made = arrays.encode(array_like, name)
    return made.decode() if name in arrays.TEXT else made


def offer() -> None:
    """Put these modules where `import` finds them, below the names of toolkits that are not installed."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Offered)]:
        del sys.modules[name]  # another model's folder may bring the real one
    for root in (BETA.partition(".")[0], INFERENCE):
        if root not in sys.modules and importlib.util.find_spec(root) is None:
            for name, content in _modules().items():
                if name.partition(".")[0] == root:
                    _add(name, content)


def _add(name: str, content: Mapping[str, Any]) -> None:
    module = _Offered(name, "Part of SageMaker's toolkit, as this server offers it.")
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    module.__dict__.update(content)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)


def _modules() -> dict[str, Mapping[str, Any]]:
    """Content of every module by its name, each after the one that holds it."""
    types = {
        "JSON": arrays.JSON,
        "CSV": arrays.CSV,
        "NPY": arrays.NPY,
        "NPZ": arrays.NPZ,
        "OCTET_STREAM": "application/octet-stream",
        "ANY": "*/*",
        "UTF8_TYPES": [arrays.JSON, arrays.CSV],
    }
    errors = {"ClientError": ClientError, "UnsupportedFormatError": UnsupportedFormatError}
    more = {one.__name__: one for one in (BaseInferenceToolkitError, GenericInferenceToolkitError)}
    codecs = {**_to(), **_from(), "encode": encode, "decode": decode}
    nothing: Mapping[str, Any] = {}
    return {
        "sagemaker_containers": nothing,
        "sagemaker_containers.beta": nothing,
        BETA: nothing,
        f"{BETA}.content_types": types,
        f"{BETA}.encoders": codecs,
        f"{BETA}.errors": errors,
        f"{BETA}.worker": {"Response": Response},
        **dict.fromkeys((f"{BETA}.env", f"{BETA}.modules", f"{BETA}.transformer"), nothing),
        INFERENCE: nothing,
        f"{INFERENCE}.content_types": types,
        f"{INFERENCE}.encoder": {**_to(), "encode": encode},
        f"{INFERENCE}.decoder": {**_from(), "decode": decode},
        f"{INFERENCE}.errors": {**errors, **more},
        f"{INFERENCE}.default_inference_handler": {"DefaultInferenceHandler": DefaultInferenceHandler},
    }


def _to() -> dict[str, Callable[[Any], str | bytes]]:
    return {
        "array_to_json": lambda value: encode(value, arrays.JSON),
        "array_to_csv": lambda value: encode(value, arrays.CSV),
        "array_to_npy": lambda value: encode(value, arrays.NPY),
    }


def _from() -> dict[str, Callable[..., Any]]:
    def reader(content_type: str) -> Callable[..., Any]:
        def read(obj: str | bytes, dtype: Any = None) -> Any:
            found = _decoded(obj, content_type, np.float64 if dtype is None else dtype)
            return found if dtype is None else found.astype(dtype)

        return read

    names = {"json_to_numpy": arrays.JSON, "csv_to_numpy": arrays.CSV, "npy_to_numpy": arrays.NPY}
    return {name: reader(content_type) for name, content_type in names.items()}
