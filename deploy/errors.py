"""Errors of deployments.

DeployError
├── Temporary                worth another try: the flow retries it
│   └── GatewayUnreachable   Envoy does not answer
└── Permanent                will fail the same way again
    ├── PlanRefused          the target cannot do what the project file asks
    ├── RolloutRefused       another rollout runs on the endpoint, or the request makes no sense now
    ├── PackageDamaged       a package does not have the digest it claims, or cannot be read
    └── EndpointTestsFailed  staging did not answer as it must
"""

from __future__ import annotations


class DeployError(Exception):
    """Root of all errors of this package."""


class Temporary(DeployError):
    """May succeed when repeated."""


class GatewayUnreachable(Temporary):
    """The gateway's admin interface does not answer."""


class Permanent(DeployError):
    """Repeating it changes nothing."""


class PlanRefused(Permanent):
    """The target lacks a capability the project file needs."""


class RolloutRefused(Permanent):
    """The endpoint is not in a state that allows this."""


class PackageDamaged(Permanent):
    """The package's bytes are not the approved ones."""


class EndpointTestsFailed(Permanent):
    """At least one endpoint test failed."""
