"""The flows that the worker offers."""

from __future__ import annotations

from flows.registration import Deployment

DEPLOYMENTS: tuple[Deployment, ...] = (
    Deployment(
        "flows.build.build",
        description="process → validate → train → evaluate → gate → package → register",
        tags=("build",),
    ),
    Deployment(
        "flows.deploy.deploy",
        description="plan → staging → endpoint tests → production canary; started by an approval",
        tags=("deploy",),
    ),
    Deployment(
        "flows.monitor.monitor",
        description="captured traffic against the baseline: data, model quality, bias, explanations",
        tags=("monitor",),
    ),
    Deployment(
        "flows.register.register",
        description="a pipeline, many models or your own code: check → try → register",
        tags=("register",),
    ),
    Deployment(
        "flows.replay.replay",
        description="captured requests against a candidate, off the live path",
        tags=("replay",),
    ),
    Deployment(
        "flows.transform.transform",
        description="batch transform: every object below a prefix through a registered version",
        tags=("transform",),
    ),
)
