"""What a server says about itself where the Open Inference Protocol asks, the gateway in front of it too."""

from __future__ import annotations

import functools
from importlib import metadata

EXTENSIONS = ("binary_tensor_data",)
"""Of the protocol, those we have."""


@functools.cache
def version() -> str:
    """Of the installed package; `unknown` where the source was only copied."""
    try:
        return metadata.version("seaway")
    except metadata.PackageNotFoundError:
        return "unknown"


def server() -> dict[str, object]:
    """The body of `GET /v2`."""
    return {"name": "seaway", "version": version(), "extensions": list(EXTENSIONS)}
