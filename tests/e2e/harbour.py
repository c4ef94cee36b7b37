"""A small project, made anew for every test: will a ship be late? A few hundred rows, fitted in a blink."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULE = '''"""Ships as one table."""

import polars as pl


def table(channels, *, complete=False):
    rows = pl.read_parquet(channels["ships"] / "*.parquet")
    return rows.drop_nulls() if complete else rows
'''
SUITE = {
    "name": "ships",
    "expectations": [
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "late", "value_set": [0, 1]},
            "severity": "critical",
        }
    ],
}


@dataclass(frozen=True)
class Harbour:
    """The project folder of one model; every `write` is another variant of its project file."""

    folder: Path
    model: str

    @property
    def staging(self):
        return f"{self.model}-staging"

    def create(self):
        self.folder.mkdir(parents=True)
        (self.folder / "harbour.py").write_text(MODULE)
        (self.folder / "suite.json").write_text(json.dumps(SUITE))
        (self.folder / "uv.lock").write_text("version = 1\n")
        (self.folder / "ships.csv").write_text(_csv())
        for command in (
            ("init", "--quiet"),
            ("add", "."),
            ("-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "commit", "-qm", "ships"),
        ):
            subprocess.run(["git", *command], cwd=self.folder, check=True)
        return self

    def write(
        self,
        name,
        *,
        features=("draught", "wind"),
        complete=False,
        trees=8,
        bake="2s",
        description="Will a ship be late?",
        approval=False,
        deadline="5m",
        policy=None,
        sticky="",
        strategy=None,
        **serving,
    ):
        """Write a variant of the project file and return its path.

        `complete` builds from rows without gaps, so that the model demands what live traffic lacks.
        """
        project = {
            "name": self.model,
            "model": self.model,
            "description": description,
            "data": {
                "channels": {"ships": {"source": "ships.csv"}},
                "target": "late",
                "time": "at",
                "features": {"numeric": list(features), "categorical": ["cargo"]},
            },
            "process": {"function": "harbour:table", "parameters": {"complete": complete}},
            "train": {
                "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
                "hyperparameters": {"max_iter": trees},
            },
            "evaluate": {"bootstrap": 50},
            "gate": [{"metric": "roc_auc", "min": 0.6}],
            "approval": policy or {},
            "staging": {
                "endpoint": self.staging,
                "tests": {"latency": {"p99": "2s", "requests": 40}},
            },
            "production": {
                "endpoint": self.model,
                "instance_count": 2,
                "approval": approval,
                "sticky": sticky,
                **serving,
                "rollout": {
                    "strategy": strategy or [{"type": "canary", "weights": ["20%", "50%"], "bake": bake}],
                    "termination_wait": "1s",
                    "maximum_execution_timeout": deadline,
                },
                "judge": {"min_requests": 15, "latency_margin": 20.0, "latency_floor": "500ms"},
            },
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(json.dumps(project, indent=1))  # JSON is YAML
        return file


def live(count=200):
    """What clients send: one report in five has no wind, as in the table."""
    return [{name: row[name] for name in ("draught", "wind", "cargo")} for row in _rows(count, seed=11)]


def _rows(count, seed):
    dice = random.Random(seed)
    for number in range(count):
        draught, wind, cargo = dice.uniform(4, 16), dice.gauss(12, 5), dice.choice(["grain", "ore", "steel"])
        late = int(draught + 0.5 * wind + dice.gauss(0, 2) > 16)
        yield {
            "at": f"2026-01-{1 + number // 24 % 28:02} {number % 24:02}:00:00",
            "draught": round(draught, 3),
            "wind": None if dice.random() < 0.2 else round(wind, 3),
            "cargo": cargo,
            "late": late,
        }


def _csv():
    rows = list(_rows(600, seed=3))
    lines = [",".join(rows[0])]
    lines += [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"
