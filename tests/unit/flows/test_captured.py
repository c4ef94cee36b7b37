from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.errors import RolloutRefused
from deploy.release import Release
from flows.replaying import Kept, captured
from serving.capture import place

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
    assert captured(Wiring(None), "ships") == kept("/home-of-seaway/captures")
    assert captured(Wiring({"destination": "/disk"}), "ships") == kept("/disk")
    assert captured(Wiring({"destination": "s3://store/some"}), "ships") == kept("s3://store/some")
    monkeypatch.setenv("CAPTURES", base64.b64encode(KEY).decode())
    told = {"destination": "s3://store/some", "key_variable": "CAPTURES"}
    assert captured(Wiring(told), "ships") == kept("s3://store/some", KEY)
    monkeypatch.delenv("CAPTURES")
    with pytest.raises(RolloutRefused, match="set CAPTURES"):
        captured(Wiring(told), "ships")


def kept(destination: str, key: bytes | None = None) -> Kept:
    return Kept(place(f"{destination}/ships"), place(f"{destination}-outcomes/ships"), key)
