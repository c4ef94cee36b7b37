"""Errors of the model registry and its ledger.

RegistryError
├── Temporary             worth another try
│   ├── Unreachable       the registry server does not answer
│   └── Conflict          somebody else decided on the same version in this moment; look again
└── Permanent             will fail the same way again
    ├── NotFound          no such model or version
    ├── PolicyRefused     the approval policy forbids the act; the message says why
    └── LedgerDamaged     the hash chain does not hold: somebody changed a row
"""

from __future__ import annotations


class RegistryError(Exception):
    """Root of all errors of this package."""


class Temporary(RegistryError):
    """May succeed when repeated."""


class Unreachable(Temporary):
    """The registry server does not answer."""


class Conflict(Temporary):
    """The ledger moved on since it was read."""


class Permanent(RegistryError):
    """Repeating it changes nothing."""


class NotFound(Permanent):
    """No such model or version."""


class PolicyRefused(Permanent):
    """The approval policy forbids it."""


class LedgerDamaged(Permanent):
    """The chain of hashes is broken."""
