"""The one error of this room."""

from __future__ import annotations


class ProfileUnreadable(ValueError):
    """Bytes or a document that hold no profile this version can read; the message says what to do."""
