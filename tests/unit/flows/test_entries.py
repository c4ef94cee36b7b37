"""What `seaway register` says of an archive's baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.load import LoadedHosting
from configs.project import Hosting
from flows.entries import Entry, evidence, watched_with
from steps.archive import Contents, Gathered
from steps.archive_baseline import Brought

HOSTING = {
    "name": "small",
    "model": "small",
    "staging": {"endpoint": "a"},
    "production": {"endpoint": "b", "capture": {}, "rollout": {"strategy": [{"type": "all_at_once"}]}},
}
BROUGHT = Brought("train.csv", 3, ("age",), ("left out, as the model does not take them: late",))


def hosting(**changes: Any) -> Hosting:
    return Hosting.model_validate_json(json.dumps(HOSTING | changes))


def gathered(folder: Path, brought: Brought | None) -> Gathered:
    (folder / "model.tar.gz").write_bytes(b"")
    return Gathered(folder / "model.tar.gz", "0" * 64, folder, Contents("code"), (), brought)


def test_what_a_monitor_will_lack_is_said_at_registering(tmp_path: Path) -> None:
    monitor = {"model_quality": {}, "explainability": {}}
    assert list(watched_with(hosting(), gathered(tmp_path, None))) == []
    first, *rest = watched_with(hosting(monitor=monitor), gathered(tmp_path, None))
    assert "as --baseline" in first
    assert rest == [
        "ModelQuality is watched and not compared: the archive has no baseline/model_quality.json",
        "ModelExplainability is watched and not compared: the archive has no baseline/attributions.json",
    ]
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "model_quality.json").write_text("{}")
    told = list(watched_with(hosting(monitor={"model_quality": {}}), gathered(tmp_path, BROUGHT)))
    assert told == ["baseline: left out, as the model does not take them: late"]


def test_the_evidence_names_the_data(tmp_path: Path) -> None:
    loaded = LoadedHosting(hosting(), Path(), "")
    bare = evidence(Entry(loaded, gathered(tmp_path, None), (), (), "ann"), tmp_path)
    assert set(bare["kinds"]["package"]) == {"passed", "kind", "parts"}
    found = evidence(Entry(loaded, gathered(tmp_path, BROUGHT), (), (), "ann"), tmp_path)
    assert found["kinds"]["package"]["baseline"] == {
        "source": "train.csv",
        "rows": 3,
        "columns": ["age"],
        "notes": list(BROUGHT.notes),
    }
