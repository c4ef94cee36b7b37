"""An installation without servers whose endpoint is watched: a real package, store, and captures as recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from configs.load import dump
from configs.monitor import Monitor
from deploy.plan import at_once
from deploy.release import Release, Request
from deploy.rollout import Phase, State
from deploy.store import Store
from flows.monitoring.executions import Watch
from flows.monitoring.running import Run
from flows.monitoring.windows import SETTLE
from registry.memory import MemoryRegistry
from registry.port import Candidate
from registry.tables import open_store
from serving import package
from steps.baseline_folder import Ground, files
from steps.job import digest_of
from steps.pack import pack
from tests.small_project import make

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MONITOR = {
    "model_quality": {"label_wait": "2d"},
    "explainability": {"rows": 200, "threshold": "95%"},
    "bias": {
        "label_values_or_threshold": [1],
        "facets": [{"name": "z", "threshold": 0.5}],
        "label_wait": "2d",
    },
    "alarms": [
        {
            "name": "drift",
            "monitor": "DataQuality",
            "figure": "feature_baseline_drift_x",
            "datapoints_to_alert": 2,
            "evaluation_period": 3,
            "actions": ["rollback", "notify", "retrain"],
        }
    ],
}
DATA = {
    "features": {"numeric": ["x", "z"]},
    "channels": {"rows": {"source": "rows.csv"}},
    "target": "y",
}


def sample(seed, rows, shift=0.0):
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": draw.normal(shift, 1, rows), "z": draw.normal(0, 1, rows)})
    chance = 1 / (1 + np.exp(-(2 * (frame.x - shift) + frame.z)))
    return frame, (draw.random(rows) < chance).astype(int)


def packed(folder):
    """A package with its baseline: archive, unpacked folder, digest."""
    seen, y = sample(1, 4000)
    held, truth = sample(2, 3000)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(seen.to_numpy(), y)

    def beside(manifest, predictions, made):
        whole = pl.from_pandas(held).with_columns(y=pl.Series(truth))
        monitor = Monitor.model_validate_json(json.dumps(MONITOR))
        return files(Ground(manifest, pl.from_pandas(seen), whole, "y", predictions, made, monitor))

    made = pack(
        model,
        held,
        name="small",
        task="binary",
        features=("x", "z"),
        trained_on=seen,
        folder=folder,
        beside=beside,
    )
    return made.archive, package.unpack(made.archive, folder / "unpacked", made.digest), made.digest


class World:
    """An installation without servers, whose endpoint `b` serves version 2, and before it version 1."""

    def __init__(self, home, built, monitor):
        self.home, self.now = home, NOON
        archive, self.folder, digest = built
        self.engine = open_store(f"sqlite:///{home / 'store.db'}")
        self.store = Store(self.engine)
        self.store.create()
        registry = MemoryRegistry(home / "artifacts")
        project = make(production__capture={}, monitor=monitor, data=DATA)
        for number in ("r1", "r2"):
            run = home / "artifacts" / number
            (run / "package").mkdir(parents=True)
            (run / "package" / "model.tar.gz").write_bytes(archive.read_bytes())
            (run / "evidence").mkdir()
            file = run / "evidence" / "project.json"
            file.write_text(json.dumps(dump(project)))
            tags = {"digest": digest, "project_digest": digest_of(file)}
            registry.register(Candidate("small", number, tags))
        self.old, self.new = Release("small", "1", digest), Release("small", "2", digest)
        self.serve()
        self.wiring = SimpleNamespace(
            engine=self.engine,
            store=self.store,
            registry=registry,
            archives=home / "archives",
            settings=SimpleNamespace(home=home, url=lambda _: "http://127.0.0.1:4200"),
        )

    def serve(self):
        self.store.ask(Request("first", "b", self.new, at_once(), champion=True), NOON)
        with self.store.writing() as writer:
            rollout = self.store.rollout("first")
            ended = replace(rollout, state=State(Phase.PROMOTED, 0, NOON, NOON))
            writer.save(ended, running=False)
            writer.serve("b", self.new, self.old)

    def capture(self, hour, shift=0.0, rows=700, seed=3, variant="v2", name="a", wrong=0):
        """One request a row; returns what really happened. Every `wrong`th answer is the opposite one."""
        from steps.evaluate import package_score

        frame, truth = sample(seed, rows, shift)
        scores = package_score(self.folder)(pl.from_pandas(frame))
        folder = self.home / "captures" / "b" / variant / f"{hour:%Y/%m/%d/%H}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"00-00-000-{name}.jsonl").open("w") as file:
            for number, (x, z, score) in enumerate(zip(frame.x, frame.z, scores, strict=True)):
                at = hour + timedelta(seconds=number * 3500 / rows)
                file.write(
                    _line(
                        f"{name}-{hour:%H}-{number}",
                        at,
                        x,
                        z,
                        1 - score if wrong and number % wrong == 0 else score,
                    )
                    + "\n"
                )
        return [(f"{name}-{hour:%H}-{number}", int(one)) for number, one in enumerate(truth)]

    def label(self, pairs):
        folder = self.home / "labels" / "b" / f"{self.now:%Y/%m/%d/%H}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(
                {
                    "groundTruthData": {"data": str(value), "encoding": "CSV"},
                    "eventMetadata": {"eventId": name},
                    "eventVersion": "0",
                }
            )
            for name, value in pairs
        ]
        (folder / f"{len(list(folder.iterdir()))}.jsonl").write_text("\n".join(lines) + "\n")

    def run(self, **more):
        return Run.of(self.wiring, "b", lambda: self.now + SETTLE, **{"environment": {}, **more})

    def watch(self, since=NOON - HOUR):
        self.run().logbook.history.watch(Watch("b", "Scheduled", since))


def _line(name, at, x, z, score):
    label = int(score > 0.5)
    answer = {"predictions": [{"score": float(score), "predicted_label": label}]}
    return json.dumps(
        {
            "captureData": {
                "endpointInput": _side("INPUT", {"instances": [{"x": x, "z": z}]}),
                "endpointOutput": _side("OUTPUT", answer),
            },
            "eventMetadata": {"eventId": name, "inferenceTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "eventVersion": "0",
        },
        separators=(",", ":"),
    )


def _side(mode, data):
    return {
        "observedContentType": "application/json",
        "mode": mode,
        "data": json.dumps(data, separators=(",", ":")),
        "encoding": "JSON",
    }
