from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.load import LoadedHosting, dump, restore
from configs.project import Hosting
from flows.evidence import resting_on_samples, write_evidence, write_project

HOSTING = {
    "name": "small",
    "model": "small",
    "staging": {"endpoint": "a"},
    "production": {"endpoint": "b", "rollout": {"strategy": [{"type": "all_at_once"}]}},
}


def hosting(**changes: Any) -> LoadedHosting:
    return LoadedHosting(Hosting.model_validate_json(json.dumps(HOSTING | changes)), Path(), "")


def wanted(loaded: LoadedHosting) -> tuple[str, ...]:
    return resting_on_samples(loaded).project.approval.required_evidence


def test_an_approval_rests_on_what_an_archive_brings(project: Any) -> None:
    assert wanted(hosting(approval={"persons": 2})) == ("package", "samples")
    assert resting_on_samples(hosting(approval={"persons": 2})).project.approval.persons == 2
    assert wanted(hosting(container={"image": "own:1"})) == ("package",)
    assert wanted(hosting(approval={"required_evidence": ["review"]})) == ("review",)


def test_a_whole_project_keeps_its_policy(project: Any) -> None:
    assert "gate" in wanted(LoadedHosting(project(), Path(), ""))


def test_the_files_are_the_same_every_time_and_read_back(project: Any, tmp_path: Path) -> None:
    for one in (project(), hosting().project):
        digests = {write_project(tmp_path, dump(one)) for _ in range(2)}
        assert len(digests) == 1
        assert restore((tmp_path / "project.json").read_bytes()) == one
    write_evidence(tmp_path, {"b": 1, "a": 2})
    assert (tmp_path / "evidence.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
