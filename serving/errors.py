"""Errors of packages and of the model server.

ServingError
├── Temporary                       worth another try
│   └── StorageFailed               an archive cannot be read, or a folder not written, right now
└── Permanent                       will fail the same way again
    ├── PackageDamaged              the archive is not the one its digest names, or must not be unpacked
    ├── ManifestInvalid             seaway.json does not describe a model this version can serve
    ├── ModelRefused                loading the model would need trust that nobody gave
    ├── ModelFailed                 the model raised, or answered with something that is no number (500)
    └── RequestRefused              the caller's mistake; carries a 4xx status, the field and the row
        ├── BadBody                 the body does not fit the model's inputs (400)
        ├── NotAcceptable           no answer format of ours is in `Accept` (406)
        ├── PayloadTooLarge         the body is longer than the limit (413)
        └── UnsupportedContentType  the body's format is none of ours (415)
"""

from __future__ import annotations


class ServingError(Exception):
    """Root of all errors of this package."""

    status = 500
    """HTTP status the model server answers with."""


class Temporary(ServingError):
    """May succeed when repeated."""


class StorageFailed(Temporary):
    """The file system refused; the message says where and why."""


class Permanent(ServingError):
    """Repeating it changes nothing."""


class PackageDamaged(Permanent):
    """The package's bytes are not the ones that were approved, or hold something a package must not hold."""


class ManifestInvalid(Permanent):
    """The manifest has a missing, unknown or mistyped entry."""


class ModelRefused(Permanent):
    """The model's format or types are not trusted."""


class ModelFailed(Permanent):
    """The model itself went wrong on a well-formed request."""


class RequestRefused(Permanent):
    """The caller must change the request."""

    status = 400

    def __init__(self, message: str, *, field: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        """The input at fault, when it is known."""
        self.row = row
        """The row at fault, counted from 0, when it is known."""


class BadBody(RequestRefused):
    """The body cannot be read as rows of the model's inputs."""


class NotAcceptable(RequestRefused):
    """The answer cannot be written in any format the caller accepts."""

    status = 406


class PayloadTooLarge(RequestRefused):
    """The body is longer than this server allows."""

    status = 413


class UnsupportedContentType(RequestRefused):
    """The body has a format this server does not read."""

    status = 415
