"""Errors of data capture.

ServingError
└── Permanent
    ├── CaptureInvalid         the settings do not describe a capture
    └── CaptureUnreadable      a file needs another key, or is no capture file
"""

from __future__ import annotations

from serving.errors import Permanent


class CaptureInvalid(Permanent):
    """A setting is missing, unknown or out of range; the message names it."""


class CaptureUnreadable(Permanent):
    """The file cannot be read with what was given; the message says what is needed."""
