from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.errors import RolloutRefused
from deploy.release import Release
from flows.replaying import captured

KEY = bytes(range(32))


@dataclass
class Wiring:
    told: dict[str, object] | None
    settings: object = field(default_factory=lambda: SimpleNamespace(home=Path("/home-of-seaway")))

    @property
    def store(self):
        environment = () if self.told is None else (("SEAWAY_CAPTURE", json.dumps(self.told)),)
        stable = Release("ships", "1", "a" * 64, environment=environment)
        return SimpleNamespace(endpoint=lambda _name: SimpleNamespace(stable=stable))


def test_captures_are_where_the_release_was_told(monkeypatch):
    assert captured(Wiring(None), "ships") == (Path("/home-of-seaway/captures/ships"), None)
    assert captured(Wiring({"destination": "/disk"}), "ships") == (Path("/disk/ships"), None)
    monkeypatch.setenv("CAPTURES", base64.b64encode(KEY).decode())
    told = {"destination": "/disk", "key_variable": "CAPTURES"}
    assert captured(Wiring(told), "ships") == (Path("/disk/ships"), KEY)
    monkeypatch.delenv("CAPTURES")
    with pytest.raises(RolloutRefused, match="set CAPTURES"):
        captured(Wiring(told), "ships")
    with pytest.raises(RolloutRefused, match="are in s3://captures"):
        captured(Wiring({"destination": "s3://captures"}), "ships")
