"""The flows that the worker offers."""

from __future__ import annotations

from flows.registration import Deployment

DEPLOYMENTS: tuple[Deployment, ...] = ()
