"""Which failed tasks are worth another try."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from deploy.errors import Temporary as DeployTemporary
from registry.errors import Temporary as RegistryTemporary
from steps.errors import Temporary as StepTemporary


def is_temporary(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Retry only what may succeed when repeated; Prefect's `retry_condition_fn`."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, DeployTemporary | RegistryTemporary | StepTemporary)
