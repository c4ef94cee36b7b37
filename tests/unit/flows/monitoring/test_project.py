"""Which projects can be watched."""

import pytest
from pydantic import ValidationError

from deploy.errors import PlanRefused
from deploy.plan import check_serving
from tests.small_project import make

BIAS = {"label_values_or_threshold": [1], "facets": [{"name": "c", "values": ["a"]}]}


def test_what_is_not_captured_cannot_be_watched():
    assert make(production__capture={}, monitor={}).monitor
    with pytest.raises(ValidationError, match=r"add production\.capture"):
        make(monitor={})
    with pytest.raises(ValidationError, match=r"remove capture\.mode: Output"):
        make(production__capture={"mode": "Output"}, monitor={})


def test_a_serverless_endpoint_is_refused_by_the_plan():
    serverless = {"memory_size_in_mb": 512, "max_concurrency": 2}
    project = make(production__serverless=serverless, monitor={})
    with pytest.raises(PlanRefused, match="nothing can watch it; remove monitor, or serverless"):
        check_serving(project, "local")


@pytest.mark.parametrize(
    ("section", "unknown"),
    [
        ({"bias": {**BIAS, "facets": [{"name": "sex"}]}}, "sex"),
        ({"bias": {**BIAS, "group": "town"}}, "town"),
        ({"data_quality": {"features": {"age": {}}, "exclude": ["id"]}}, "age, id"),
    ],
)
def test_columns_that_are_no_inputs_are_told_at_once(section, unknown):
    with pytest.raises(ValidationError, match=f"no inputs: {unknown}; correct"):
        make(production__capture={}, monitor=section)


def test_columns_that_are_inputs_or_predictions_are_fine():
    section = {"bias": {**BIAS, "group": "z"}, "data_quality": {"features": {"x": {}, "@score": {}}}}
    assert make(production__capture={}, monitor=section).monitor.columns == ("x", "@score", "c", "z")
