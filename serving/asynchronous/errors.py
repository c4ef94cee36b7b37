"""Errors of asynchronous inference.

ServingError
├── Temporary
│   ├── NoCapacity             nobody answers for the endpoint now: the request waits, at no cost to it
│   └── Interrupted            a connection or a store failed half-way: worth a few more tries
└── Permanent
    ├── ConfigurationInvalid   the endpoint's file does not describe an asynchronous endpoint
    ├── HomeTaken              another process already works on this queue
    ├── InputRefused           the input is missing, too long, or nobody may read it
    ├── OutputRefused          the place for an answer does not take it, and will not
    └── RequestRefused
        └── Invalid            the caller's mistake: a ValidationError (400)
"""

from __future__ import annotations

from serving.errors import Permanent, RequestRefused, Temporary


class NoCapacity(Temporary):
    """The endpoint has no instance that takes the request now."""

    status = 503


class Interrupted(Temporary):
    """Something on the way failed; the message says what."""

    status = 502


class ConfigurationInvalid(Permanent):
    """A setting is missing, unknown or out of range; the message names it."""


class HomeTaken(Permanent):
    """The queue's folder belongs to a process that still runs."""


class InputRefused(Permanent):
    """The input cannot be had; the message says why."""


class OutputRefused(Permanent):
    """An answer cannot be put where it belongs; the message says why."""


class Invalid(RequestRefused):
    """A request that the API does not allow."""
