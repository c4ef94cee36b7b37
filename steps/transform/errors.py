"""Errors of batch transform.

StepError
└── Permanent
    ├── JobRefused      the job makes no sense as it was asked for; nothing was started
    ├── JobBusy         another process works on the job
    ├── ObjectFailed    one object has no result; the others go on
    │   └── RecordTooLarge  a record is longer than a payload may be
    └── ServerFailed    the model server does not start
"""

from __future__ import annotations

from steps.errors import Permanent


class JobRefused(Permanent):
    """The job must be asked for in another way."""


class JobBusy(Permanent):
    """Two processes must not work on one job."""


class ObjectFailed(Permanent):
    """One object could not be transformed; nothing was written for it."""


class RecordTooLarge(ObjectFailed):
    """A record is longer than a payload may be."""


class ServerFailed(Permanent):
    """The model server does not start or does not become healthy."""
