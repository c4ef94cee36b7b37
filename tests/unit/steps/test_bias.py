from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.build import BiasThreshold
from configs.monitor import Monitor
from configs.project import Project
from monitoring.bias.settings import BiasConfig, Facet
from serving.manifest import Input, Manifest, ParityRecord
from serving.predictions import Predictions
from steps import bias, evaluate, gate
from steps.baseline_folder import Ground, files, relevant
from steps.errors import DataRefused, EvaluationRefused
from steps.metrics import Scored

CONFIG = BiasConfig(("yes",), (Facet("sex", ("F",)),), label="paid", predicted="said", resamples=0)


def project(*gates: dict, methods: tuple[str, ...] = ()) -> Project:
    return Project.model_validate(
        {
            "name": "loans",
            "model": "loans",
            "data": {
                "channels": {"rows": {"source": "rows.csv"}},
                "target": "paid",
                "features": {"numeric": ["x"]},
            },
            "process": {"function": "loans:table"},
            "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
            "evaluate": {
                "bootstrap": 50,
                "bias": {
                    "label_values_or_threshold": [1],
                    "facets": [{"name": "sex"}, {"name": "age", "threshold": 40.0}],
                    "intersections": [["sex", "age"]],
                    "methods": list(methods),
                },
            },
            "gate": list(gates),
            "staging": {"endpoint": "loans-staging"},
            "production": {
                "endpoint": "loans",
                "rollout": {"strategy": [{"type": "all_at_once"}]},
            },
        },
        strict=False,
    )


def holdout() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    n = 400
    return pl.DataFrame(
        {
            "sex": rng.choice(["F", "M"], n),
            "age": rng.uniform(18, 80, n),
            "x": rng.normal(size=n),
            "paid": rng.integers(0, 2, n),
        }
    )


def score(rows: pl.DataFrame) -> np.ndarray:
    """Refuses nearly every woman."""
    return np.where(rows["sex"].to_numpy() == "F", rows["x"].to_numpy() > 1, rows["x"].to_numpy() > 0) * 0.9


def test_the_hold_out_s_report_is_part_of_the_evaluation() -> None:
    found = evaluate.report(holdout(), project(), [0, 1], score, None)["bias"]
    facets = found["analysis"]["post_training_bias_metrics"]["facets"]
    assert list(facets) == ["sex", "age", "sex & age"]
    assert [one["value_or_threshold"] for one in facets["sex & age"]] == ["F & > 40", "M & > 40"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("threshold", "passed", "said"),
    [
        ({"bias": "DPPL", "facet": "sex", "value": "F", "max": 0.1}, [False], "above the limit 0.1"),
        ({"bias": "DPPL", "facet": "sex", "value": "M", "max": 0.1}, [True], "at most 0.1"),
        ({"bias": "DPPL", "facet": "sex", "within": 0.1}, [False, False], "farther from 0 than 0.1"),
        ({"bias": "DI", "facet": "sex", "value": "F", "min": 0.8}, [False], "below the limit 0.8"),
        ({"bias": "DI", "facet": "age", "min": 0.5, "max": 2.0}, [True, True], "at least 0.5"),
        ({"bias": "DI", "facet": "sex", "value": "X", "min": 0.8}, [False], "cannot be judged"),
        ({"bias": "CDDL", "facet": "age", "max": 0.1}, [False], "cannot be judged: Group variable is empty"),
    ],
)
def test_gates_in_words(threshold, passed, said) -> None:
    asked = project(threshold)
    gate.check(asked)
    results = gate.decide(asked.gate, evaluate.report(holdout(), asked, [0, 1], score, None))
    assert [one.passed for one in results] == passed
    assert said in results[0].sentence


@pytest.mark.parametrize(
    ("threshold", "methods", "problem"),
    [
        ({"bias": "DPPP", "facet": "sex", "max": 0.1}, (), "gate[0].bias: 'DPPP' is not computed"),
        ({"bias": "DPL", "facet": "sex", "max": 0.1}, ("DI",), "gate[0].bias: 'DPL' is not computed"),
        (
            {"bias": "DPL", "facet": "six", "max": 0.1},
            (),
            "gate[0].facet: 'six' is no facet of evaluate.bias",
        ),
    ],
)
def test_what_can_never_be_decided_is_refused_at_once(threshold, methods, problem) -> None:
    with pytest.raises(EvaluationRefused) as caught:
        gate.check(project(threshold, methods=methods))
    assert problem in str(caught.value)


def test_a_gate_without_the_section() -> None:
    asked = project({"bias": "DPL", "facet": "sex", "max": 0.1})
    without = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"bias": None})})
    with pytest.raises(EvaluationRefused, match=r"gate\[0\]: a bias gate needs the section evaluate.bias"):
        gate.check(without)


def test_a_gate_must_say_what_it_limits() -> None:
    with pytest.raises(ValueError, match="give min, max or within"):
        BiasThreshold(bias="DPL", facet="sex")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_files(tmp_path: Path, suffix: str) -> None:
    rows = pl.DataFrame({"sex": list("FFMM"), "paid": ["yes", "no", "yes", "yes"]})
    file = tmp_path / f"rows{suffix}"
    writers = {".csv": rows.write_csv, ".parquet": rows.write_parquet, ".jsonl": rows.write_ndjson}
    writers[suffix](file)
    found = bias.of_file(file, CONFIG, None)
    values = {one.metric: one.value for one in found.details.measures}
    assert values["DPL"] == 0.5
    written = bias.write(found.documents[bias.ANALYSIS], tmp_path)
    assert not bias.of_file(file, CONFIG, written).violations


def test_files_that_will_not_do(tmp_path: Path) -> None:
    text = tmp_path / "rows.csv"
    text.write_text("sex\nF\n")
    with pytest.raises(DataRefused, match="no label column 'paid'; the columns are sex"):
        bias.of_file(text, CONFIG, None)
    with pytest.raises(DataRefused, match="convert it"):
        bias.read(tmp_path / "rows.xlsx")
    with pytest.raises(DataRefused, match="cannot be read"):
        bias.read(tmp_path / "none.csv")
    with pytest.raises(DataRefused, match="is no analysis.json"):
        bias.read_analysis(text)


def watched(**more: object) -> dict[str, object]:
    facets = [{"name": "sex", "values": ["F"]}]
    section = {"label_values_or_threshold": [1], "facets": facets, **more}
    return relevant(Monitor.model_validate({"bias": section}, strict=False))


def test_a_baseline_calls_the_label_as_the_data_do() -> None:
    rows = holdout().select("sex", "x", delayed=pl.col("paid"))
    inputs = (Input("sex", "string"), Input("x", "double"))
    manifest = Manifest("m", "binary", "skops", (0, 1), inputs, ParityRecord(0, None, passed=False))
    facets = [{"name": "sex", "values": ["F"]}]
    section = {"label_values_or_threshold": [1], "facets": facets, "resamples": 50}
    monitor = Monitor.model_validate({"bias": section}, strict=False)
    said = Predictions(np.full(rows.height, 0.7), (1,) * rows.height)
    made = files(Ground(manifest, rows, rows, "delayed", said, monitor=monitor))
    analysis = json.loads(made["baseline/bias.json"])
    assert {block["label"] for name, block in analysis.items() if name != "version"} == {"delayed"}


def test_what_is_measured_makes_another_baseline_and_what_is_a_violation_does_not() -> None:
    judged = {"rule": "farther", "alpha": "1%", "allowed": {"DI": [0.8, 1.25]}, "schedule": "daily"}
    assert watched(**judged) == watched()
    assert watched(features=["age"]) != watched()
    assert watched(resamples=200) != watched()


def test_the_flip_test_looks_at_the_inputs_of_the_model_or_at_those_that_are_named() -> None:
    asked = project(methods=("FT",))
    rows = holdout()[:100].with_columns(unlike=pl.Series(range(100)))
    scored = Scored(rows["paid"].to_numpy(), score(rows))

    def value(*features: str) -> float | None:
        groups = asked.evaluate.bias.model_copy(update={"features": features, "resamples": 50})
        evaluated = asked.evaluate.model_copy(update={"bias": groups})
        found = bias.of_holdout(rows, asked.model_copy(update={"evaluate": evaluated}), [0, 1], scored)
        return found.details.measures[0].value

    assert value() == value("x")
    assert value() != value("unlike")
