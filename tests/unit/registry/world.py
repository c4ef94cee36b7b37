"""A small world for tests: memory registry, SQLite in memory, evidence on disk."""

from __future__ import annotations

import hashlib
import json
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from configs.project import Approval
from registry.approvals import Desk, register
from registry.evidence import Shelf
from registry.gestures import Gestures
from registry.ledger import Ledger
from registry.memory import MemoryRegistry
from registry.port import STATUS, Candidate, ModelVersion
from registry.tables import create_tables

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DIGEST = "d" * 64
KINDS = ("validation", "evaluation", "gate", "package")


class World:
    """Everything the reconciler touches, and the hands of people."""

    def __init__(self, folder: Path) -> None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        weakref.finalize(self, engine.dispose)
        create_tables(engine)
        self.engine = engine
        self.folder = folder
        self.registry = MemoryRegistry(folder / "artifacts")
        self.ledger = Ledger(engine)
        self.gestures = Gestures(engine)
        self.desk = Desk(self.registry, self.ledger, self.gestures, Shelf(self.registry, folder / "kept"))
        self.now = START
        self.triggered: list[str] = []

    def tick(self) -> datetime:
        self.now += timedelta(seconds=15)
        return self.now

    def build(
        self, policy: Approval | None = None, *, run: str = "r1", author: str = "carol", **evidence
    ) -> ModelVersion:
        document = {
            "kinds": {kind: {"passed": True} for kind in KINDS},
            "metrics": {"roc_auc": 0.8},
            "author": author,
            "digest": DIGEST,
            **evidence,
        }
        file = self.folder / "artifacts" / run / "evidence" / "evidence.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
        tags = {
            "digest": DIGEST,
            "evidence": hashlib.sha256(file.read_bytes()).hexdigest(),
            "author": author,
        }
        candidate = Candidate("late-arrivals", run, tags, "# Decision sheet")
        return register(self.registry, self.ledger, candidate, policy or Approval(), self.tick())

    def set_tag(self, value: str | None, by: str | None = None, version: str = "1") -> None:
        """A person changes the tag; with a name, through the guard with authentication."""
        self.registry.annotate("late-arrivals", version, {STATUS: value})
        if by is not None:
            seq = self.gestures.begin(
                at=self.tick(),
                model="late-arrivals",
                version=version,
                value=value or "",
                actor=by,
                authenticated=True,
                peer="127.0.0.1",
            )
            self.gestures.confirm(seq)

    def trigger(self, approval) -> str:
        self.triggered.append(approval.id)
        return f"run-{approval.id[:8]}"

    def version(self, number: str = "1") -> ModelVersion:
        return next(v for v in self.registry.versions("late-arrivals") if v.version == number)

    def kinds(self, number: str = "1") -> list[str]:
        return [str(entry.kind) for entry in self.ledger.entries("late-arrivals", number)]
