"""The build's steps tied together by content keys; plain functions, usable without Prefect.

Each step reads folders of earlier steps and writes its own (`steps.job`). Its key is made of the digests of
its inputs, its part of the project file and the code that runs: what did not change does not run again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import monitoring
from configs.load import LoadedProject, dump, load
from configs.project import Project
from flows.evidence import write_evidence, write_project
from monitoring import bias as formulas
from serving.manifest import Manifest
from serving.predictions import Predictions
from steps import bias, evaluate, gate, process, report, table, train, validate
from steps.code import project_code
from steps.errors import CodeFailed
from steps.job import StepResult, code_digest, digest_of, key, run_step

ORDER = ("process", "validate", "train", "evaluate", "package", "register")
"""The steps in order, as `--from` names them."""
_LIBRARIES = ("numpy", "scikit-learn", "skops", "skl2onnx", "onnxruntime", "polars", "great-expectations")
_OPTIONAL = ("onnxmltools", "xgboost-cpu", "xgboost", "lightgbm")


@dataclass(frozen=True)
class Making:
    """One build of one project file."""

    loaded: LoadedProject
    runs: Path
    """Folder of all step folders."""
    force_from: str = ""
    """Run this step and all after it even when nothing changed."""

    @classmethod
    def of(cls, project_file: Path, runs: Path, force_from: str = "") -> Making:
        """Read the project file and refuse gates that it can never decide.

        Raises:
            configs.load.ProjectError: the file has problems.
            steps.errors.EvaluationRefused: a gate names an unknown metric or slice.
        """
        loaded = load(project_file)
        gate.check(loaded.project)
        return cls(loaded, runs, force_from)

    @property
    def project(self) -> Project:
        """The project."""
        return self.loaded.project

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The project file as plain data."""
        return dump(self.project)

    @cached_property
    def code(self) -> str:
        """Digest of the project's own Python files."""
        return code_digest([self.loaded.folder])

    def process(self) -> StepResult:
        """Fetch the channels and make the table."""
        fetched = run_step(
            "fetch", self._key("fetch", ["data"], {}, process), self.runs, self._fetch, force=True
        )
        channels = fetched.output["channels"]
        inputs = {name: facts["digest"] for name, facts in channels.items()}
        folders = {name: fetched.folder / name for name in channels}
        return self._run(
            "process",
            self._key("process", ["data", "process", "train.task"], inputs, process),
            lambda out: process.run(self.project, self.loaded.folder, folders, out),
        )

    def _fetch(self, out: Path) -> dict[str, Any]:
        return process.fetch(self.project.data, self.loaded.folder, out)

    def validate(self, processed: StepResult) -> StepResult:
        """Check the table against the suite."""
        suite = self.loaded.folder / self.project.validation.suite
        inputs = {"table": processed.output["digest"], "suite": digest_of(suite) if suite.exists() else ""}
        return self._run(
            "validate",
            self._key("validate", ["validate"], inputs, validate),
            lambda out: validate.run(processed.folder, suite, self.project.validation.fail_on, out),
        )

    def train(self, processed: StepResult) -> StepResult:
        """Fit the model."""
        from steps import boosting

        inputs = {"table": processed.output["digest"]}
        return self._run(
            "train",
            self._key("train", ["data", "train", "evaluate.holdout"], inputs, train, table, boosting),
            lambda out: train.run(self.project, self.loaded.folder, processed.folder, out),
        )

    def evaluate(
        self, processed: StepResult, trained: StepResult, champion: tuple[str, str, Path] | None
    ) -> StepResult:
        """Metrics and charts on the hold-out, paired with the champion `(name, digest, unpacked package)`."""
        inputs = {"model": self.model_digest(trained), "champion": champion[1] if champion else ""}
        if self.project.evaluate.bias:
            inputs["bias"] = code_digest([Path(str(formulas.__file__)).parent])

        def body(out: Path) -> dict[str, Any]:
            rival = evaluate.Champion(champion[0], evaluate.package_score(champion[2])) if champion else None
            found = evaluate.run(
                self.project, self.loaded.folder, processed.folder, trained.folder, out, rival
            )
            report.draw(found, trained.output["curves"], out)
            return found

        sections = ["data", "train.task", "evaluate"]
        return self._run("evaluate", self._key("evaluate", sections, inputs, evaluate, report, bias), body)

    def gates(self, evaluated: StepResult) -> tuple[gate.GateResult, ...]:
        """The project's conditions on the report."""
        return gate.decide(self.project.gate, evaluated.output)

    def package(self, processed: StepResult, trained: StepResult) -> StepResult:
        """`model.tar.gz`, compiled when that is faithful."""
        from steps import baseline, baseline_folder, boosting, pack, parity, quantise, reference, speed, trees
        from steps import compile as compiling

        script = self._preprocess()
        watched = {
            "settings": baseline_folder.relevant(self.project.monitor),
            "script": hashlib.sha256(script).hexdigest(),
            "code": code_digest([Path(monitoring.__path__[0])]),
        }
        inputs = {
            "model": self.model_digest(trained),
            "table": processed.output["digest"],
            "monitor": hashlib.sha256(json.dumps(watched, sort_keys=True).encode()).hexdigest(),
        }

        def body(out: Path) -> dict[str, Any]:
            project, features = self.project, self.project.data.features
            seen, held = table.split(table.read(processed.folder), project)
            columns = table.columns(features)

            def beside(
                manifest: Manifest, predictions: Predictions, files: Mapping[str, bytes]
            ) -> Mapping[str, bytes]:
                ground = baseline_folder.Ground(
                    manifest, seen, held, project.data.target, predictions, files, project.monitor, script
                )
                return baseline_folder.files(ground)

            with project_code(self.loaded.folder):
                model = train.load(trained.folder, self.loaded.folder)
                made = pack.pack(
                    model,
                    held.select(columns).to_pandas(),
                    name=project.model,
                    task=project.train.task,
                    features=columns,
                    trained_on=seen.select(columns).to_pandas(),
                    folder=out,
                    tolerance=project.package.parity_tolerance,
                    compiling=compiling.Compiling.of(project.package),
                    sample_rows=project.package.sample_rows,
                    allow_pickle=project.package.allow_pickle,
                    provenance={
                        "data_digest": processed.output["digest"],
                        "project": project.name,
                        "code_digest": self.code,
                    },
                    beside=beside,
                )
            return made.report

        sections = ["data", "model", "name", "package", "train.task", "evaluate.holdout"]
        compilers = (compiling, trees, boosting, parity, quantise, reference, speed)
        modules = (pack, *compilers, baseline, baseline_folder)
        return self._run("package", self._key("package", sections, inputs, *modules), body)

    def _preprocess(self) -> bytes:
        """The project's script that makes rows of captured records; nothing when there is none.

        Raises:
            CodeFailed: there is no such file.
        """
        name = self.project.monitor.preprocess if self.project.monitor else ""
        file = self.loaded.folder / name
        if name and not file.is_file():
            raise CodeFailed(f"monitor.preprocess: there is no file {name} beside the project file; add it")
        return file.read_bytes() if name else b""

    def model_digest(self, trained: StepResult) -> str:
        """What identifies a trained model: its step's key, since skops files differ from save to save."""
        return trained.folder.name

    def _run(self, name: str, step_key: str, body: Any) -> StepResult:
        forced = bool(self.force_from) and ORDER.index(name) >= ORDER.index(self.force_from)
        return run_step(name, step_key, self.runs, body, force=forced)

    def _key(self, name: str, sections: list[str], inputs: Mapping[str, str], *modules: ModuleType) -> str:
        parameters = {section: _section(self.settings, section) for section in sections}
        libraries = {library: metadata.version(library) for library in _LIBRARIES} | _installed(_OPTIONAL)
        code = code_digest([*(Path(str(module.__file__)) for module in modules), self.loaded.folder])
        return key(name, {**parameters, "libraries": libraries, "python": sys.version_info[:2]}, inputs, code)


def _installed(libraries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for library in libraries:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def _section(settings: Mapping[str, Any], dotted: str) -> Any:
    found: Any = settings
    for part in dotted.split("."):
        found = found[part]
    return found


def collect_evidence(
    making: Making,
    author: str,
    steps: Mapping[str, StepResult],
    gates: tuple[gate.GateResult, ...],
    out: Path,
) -> dict[str, Any]:
    """Write `evidence.json`, `project.json` and the reports into `out`; the same build gives the same bytes.

    Returns:
        The content of `evidence.json`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("validate", "evaluate"):
        for file in steps[name].folder.iterdir():
            if file.name != "result.json":
                shutil.copyfile(file, out / file.name)
    evaluated, packed = steps["evaluate"].output, steps["package"].output
    bias_found = evaluated.get("bias")
    evidence = {
        "kinds": {
            "validation": {
                "passed": steps["validate"].output["passed"],
                "suite": steps["validate"].output["suite"],
                "checks": len(steps["validate"].output["checks"]),
            },
            "evaluation": {"passed": True, "rows": evaluated["rows"], "metrics": evaluated["metrics"]},
            **({"bias": {"passed": True, "notes": bias_found["notes"]}} if bias_found else {}),
            "gate": {"passed": gate.passed(gates), "results": [asdict(one) for one in gates]},
            "package": {
                "passed": True,
                "runtime": packed["runtime"],
                "parity": packed["parity"]["max_abs_difference"],
            },
        },
        "metrics": metrics(evaluated),
        "author": author,
        "digest": packed["digest"],
        "data_digest": steps["process"].output["digest"],
        "project_digest": write_project(out, making.settings),
    }
    write_evidence(out, evidence)
    return evidence


def metrics(evaluated: Mapping[str, Any]) -> dict[str, float]:
    """Figures by name: the model's, and under `champion.` those of the comparison."""
    found = {name: one["value"] for name, one in evaluated["metrics"].items() if one}
    champion = evaluated["champion"] or {"metrics": {}, "difference": {}}
    for kind, suffix in (("metrics", ""), ("difference", ".difference")):
        for name, one in champion[kind].items():
            if one:
                found[f"champion.{name}{suffix}"] = one["value"]
    return found
