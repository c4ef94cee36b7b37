"""Bias sections of the project file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.bias import Groups


def read(**more: Any) -> Groups:
    section = {"label_values_or_threshold": [1], "facets": [{"name": "sex", "values": ["F"]}], **more}
    return Groups.model_validate(section, strict=False)


def test_defaults() -> None:
    found = read()
    assert (found.features, found.resamples, found.rule, found.alpha) == ((), 1000, "auto", 0.05)


def test_what_a_project_may_say() -> None:
    found = read(features=["age", "job"], resamples=200, rule="farther", alpha="1%")
    assert (found.features, found.resamples, found.rule, found.alpha) == (
        ("age", "job"),
        200,
        "farther",
        0.01,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"rule": "sometimes"},
        {"alpha": 0},
        {"alpha": "60%"},
        {"resamples": 10},
        {"facets": [{"name": "sex"}, {"name": "sex"}]},
        {"intersections": [["sex", "age"]]},
    ],
)
def test_refusals(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**more)
