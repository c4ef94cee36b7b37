"""A small project whose settings tests change by dotted key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from configs.project import Project


def make(**changes: Any) -> Project:
    data: dict[str, Any] = {
        "name": "small",
        "model": "small",
        "data": {
            "channels": {"rows": {"source": "rows.csv"}},
            "target": "y",
            "time": "when",
            "features": {"numeric": ["x", "z"], "categorical": ["c"]},
        },
        "process": {"function": "features:table"},
        "train": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"},
        "evaluate": {"bootstrap": 50},
        "staging": {"endpoint": "a"},
        "production": {"endpoint": "b", "rollout": {"strategy": [{"type": "all_at_once"}]}},
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return Project.model_validate_json(json.dumps(data))


@pytest.fixture
def project():
    return make
