"""The project file: one frozen value that describes a model from its data to its production endpoint.

Every class forbids unknown keys, so a typing error fails at load and never becomes a silent default.
Names follow SageMaker where the same thing is meant (`instance_count`, `evaluation_periods`).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from configs.build import Data, Evaluate, Gate, Package, Process, Train, Validate
from configs.endpoints import Production, Staging
from configs.hosting import Container
from configs.monitor import Monitor
from configs.section import Name, Section


class RiskRule(Section):
    """One condition on an evidence metric under which no person needs to be asked."""

    metric: str
    """Name in the evidence, for example `roc_auc` or `champion.roc_auc.difference`."""
    min: float | None = None
    """Smallest value that counts as low risk."""
    max: float | None = None
    """Largest value that counts as low risk."""


class Approval(Section):
    """Who may approve, on which evidence."""

    approvers: tuple[str, ...] = ()
    """Names that may approve; empty means anybody who can reach the registry."""
    required_evidence: tuple[str, ...] = ("validation", "evaluation", "gate", "package")
    """Kinds of evidence a version must carry before it can be approved."""
    persons: int = Field(default=1, ge=1, le=2)
    """Two means that two different people must approve."""
    self_approval: bool = True
    """False forbids the person who built a version to approve it."""
    allow_unauthenticated: bool = True
    """False refuses a tag set in a registry UI that knows no users."""
    automatic: tuple[RiskRule, ...] = ()
    """Approve without a person when every rule holds; empty means never."""


_SETTABLE = {"SEAWAY_MAX_HOP_PAYLOAD_IN_MB", "SEAWAY_MULTI_MODEL_MEMORY_IN_MB"}
_PLATFORM_S = {"SAGEMAKER_BASE_DIR", "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MULTI_MODEL"}


class Hosting(Section):
    """What a version needs to be approved and to run, wherever its package comes from."""

    name: Name
    """The project."""
    model: Name
    """Name of the registered model."""
    description: str = ""
    """One sentence for people who decide."""
    approval: Approval = Approval()
    staging: Staging
    production: Production
    monitor: Monitor | None = None
    """Watch the production endpoint; nobody watches without it."""
    target: Literal["local", "docker"] | None = None
    """Where endpoints run: processes of this machine, or containers of its Docker engine; the platform's own
    choice (`SEAWAY_TARGET`, or local) when not given."""
    container: Container = Container()
    """How model servers run when the target is Docker."""
    environment: dict[str, str] = {}
    """Variables of every model server, for example `SAGEMAKER_MODEL_SERVER_TIMEOUT: "20"`; no secrets."""

    @model_validator(mode="after")
    def _own_variables(self) -> Self:
        for name in self.environment:
            if not name.isidentifier():
                raise ValueError(f"environment: {name!r} is no name of a variable")
            if name in _PLATFORM_S or (name.startswith("SEAWAY_") and name not in _SETTABLE):
                raise ValueError(f"environment: {name} is set by the platform; remove it")
        return self

    @model_validator(mode="after")
    def _monitor_sees(self) -> Self:
        watched = self.production.capture
        if self.monitor and not self.production.serverless:
            if not watched:
                raise ValueError("monitor reads captured requests and answers; add production.capture: {}")
            if watched.mode != "InputAndOutput":
                raise ValueError(f"monitor needs requests and answers; remove capture.mode: {watched.mode}")
        return self

    @model_validator(mode="after")
    def _endpoints_differ(self) -> Self:
        if self.staging.endpoint == self.production.endpoint:
            raise ValueError("staging and production need different endpoint names")
        return self


class Project(Hosting):
    """A whole project; `seaway register` needs none of data, process and train."""

    data: Data
    process: Process
    validation: Validate = Field(default=Validate(), alias="validate")
    train: Train
    evaluate: Evaluate = Evaluate()
    gate: tuple[Gate, ...] = ()
    """All must pass, or the build ends before registration."""
    package: Package = Package()

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _monitor_knows_its_columns(self) -> Self:
        inputs = {*self.data.features.numeric, *self.data.features.categorical}
        named = self.monitor.columns if self.monitor else ()
        if unknown := sorted({name for name in named if name not in inputs and not name.startswith("@")}):
            raise ValueError(f"monitor names columns that are no inputs: {', '.join(unknown)}; correct them")
        return self
