from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import codecs, explain
from serving.app import Application, Limits
from serving.codecs import Columns
from serving.environment import EnvironmentInvalid
from serving.errors import ModelFailed
from serving.explain import parse, selection
from serving.explain.explainer import affordable
from serving.explain.responder import ExplainingResponder
from serving.explain.settings import players
from serving.loading import load
from serving.predictions import Predictions
from tests.fakes.model import INPUTS, MeanPredictor

TYPICAL = [{"delay": 0, "hour": 0, "carrier": "x"}]
ROW = b'[{"delay": 300, "hour": 600, "carrier": "y"}, {"delay": null, "hour": 12, "carrier": "x"}]'


def responder(
    folder: Path, predictor: Any = None, environ: dict[str, str] | None = None, **settings: Any
) -> ExplainingResponder:
    asked = {"baseline": TYPICAL, "method": "kernel"} | settings
    told = {explain.EXPLAIN: json.dumps(asked), **(environ or {})}
    return explain.load(folder, told, predictor or MeanPredictor(), limit=10_000, parameters={})


def ask(
    answering: ExplainingResponder, body: bytes = ROW, **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Application(answering, Limits()).answer("POST", "/invocations", lines, body)
    return answer.status, json.loads(answer.body), dict(answer.headers)


def sums(content: dict[str, Any]) -> list[float | None]:
    """What the attributions of each row add up to."""
    base = content["details"]["expected_value"][0]
    return [
        one and base + sum(feature["attributions"][0]["attribution"][0] for feature in one)
        for one in content["explanations"]["kernel_shap"]
    ]


def test_the_shape_of_clarify(tmp_path: Path) -> None:
    status, content, headers = ask(responder(tmp_path), x_amzn_sagemaker_enable_explanations="score > `0.1`")
    assert status == 200
    assert content["version"] == "1.0"
    assert content["predictions"]["content_type"] == "application/json"
    rows = json.loads(content["predictions"]["data"])["predictions"]
    assert content["label_headers"] == ["1"]
    assert [one["feature_header"] for one in content["explanations"]["kernel_shap"][0]] == [
        "delay",
        "hour",
        "carrier",
    ]
    assert content["explanations"]["kernel_shap"][1] is None
    assert sums(content) == [pytest.approx(rows[0]["score"], abs=1e-7), None]
    assert content["explanations"]["kernel_shap"][0][2]["attributions"] == [
        {"attribution": [pytest.approx(0, abs=1e-12)]}
    ]
    assert content["details"]["records"] == [{"samples": 6, "exact": True}, None]
    assert headers == {"x-seaway-explanations": "method=kernel; chosen=1; explained=1; samples=6"}


@pytest.mark.parametrize(
    ("expression", "kind", "explained"),
    [
        ("!(score > `0.1`)", "application/json", [False, True]),
        ("`true`", "application/json", [True, True]),
        ("`false`", "application/json", []),
        ("predicted_label == `0`", "application/jsonlines", [True, True]),
        ("[1] > `0.1`", "text/csv", [True, False]),
        ("length(@) == `2`", "text/csv", [True, True]),
    ],
)
def test_expressions(tmp_path: Path, expression: str, kind: str, explained: list[bool]) -> None:
    status, content, _ = ask(
        responder(tmp_path), accept=kind, x_amzn_sagemaker_enable_explanations=expression
    )
    assert status == 200
    assert content["predictions"]["content_type"] == kind
    shown = content["explanations"].get("kernel_shap", [])
    assert [one is not None for one in shown] == explained
    assert bool(explained) == bool(content["explanations"])


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("score >", "no JMESPath"),
        ("score", "must be true or false"),
        ("nothing > `1`", "must be true or false"),
        ("nosuch(@)", "fails on the prediction for row 0"),
        ("x" * 65, "1 to 64"),
        ("", "1 to 64"),
    ],
)
def test_refused_expressions(tmp_path: Path, expression: str, said: str) -> None:
    status, content, _ = ask(responder(tmp_path), x_amzn_sagemaker_enable_explanations=expression)
    assert status == 400
    assert said in content["error"]


def test_records_are_what_the_client_sees() -> None:
    assert selection.records(b'{"score":0.8}\n{"score":1}\n', codecs.LINES) == [{"score": 0.8}, {"score": 1}]
    assert selection.records(b'"a,b",0.25\nyes,1\n', codecs.CSV) == [["a,b", 0.25], ["yes", 1]]


def test_binary_formats(tmp_path: Path) -> None:
    body = codecs.encode(Predictions(np.zeros(1), None), codecs.NPY, MeanPredictor("regression").manifest)
    assert ask(responder(tmp_path), accept="application/x-npy")[0] == 406
    assert ask(responder(tmp_path), body, content_type="application/x-npy")[0] == 400
    numbers = MeanPredictor(inputs=INPUTS[:1])
    answering = responder(tmp_path, numbers, baseline=[{"delay": 0}])
    status, content, _ = ask(answering, body, content_type="application/x-npy")
    assert (status, content["predictions"]["content_type"]) == (200, "application/json")


def test_one_attribution_per_class(tmp_path: Path) -> None:
    _, content, _ = ask(responder(tmp_path, MeanPredictor("multiclass")))
    assert content["label_headers"] == ["a", "b", "ç"]
    largest_last = "!contains(scores[:-1], max(scores))"
    status, _, headers = ask(
        responder(tmp_path, MeanPredictor("multiclass")), x_amzn_sagemaker_enable_explanations=largest_last
    )
    assert (status, headers["x-seaway-explanations"][:24]) == (200, "method=kernel; chosen=1;")
    first = content["explanations"]["kernel_shap"][0][0]["attributions"][0]["attribution"]
    assert len(first) == 3
    assert sum(first) == pytest.approx(0, abs=1e-6)
    _, content, _ = ask(responder(tmp_path, MeanPredictor("regression")))
    assert "label_headers" not in content


def test_groups_are_one_feature(tmp_path: Path) -> None:
    _, content, _ = ask(responder(tmp_path, groups={"when": ["hour", "delay"]}))
    shown = content["explanations"]["kernel_shap"][0]
    assert [one["feature_header"] for one in shown] == ["when", "carrier"]
    assert [one.name for one in players(INPUTS, {"a": ("carrier",), "b": ("hour",)})] == ["delay", "b", "a"]


def test_v2_answers_as_before(tmp_path: Path) -> None:
    tensors = [{"name": "hour", "shape": [1], "datatype": "FP32", "data": [600]}]
    body = json.dumps({"inputs": tensors}).encode()
    answer = Application(responder(tmp_path), Limits()).answer("POST", "/v2/models/m/infer", {}, body)
    assert answer.status == 200
    assert "outputs" in json.loads(answer.body)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Slow:
    """A model that takes its time: seconds per row, by the clock."""

    clock: Clock
    seconds: float
    inner: MeanPredictor = field(default_factory=MeanPredictor)

    @property
    def manifest(self) -> Any:
        return self.inner.manifest

    def predict(self, columns: Columns) -> Predictions:
        self.clock.now += self.seconds * len(next(iter(columns.values())))
        return self.inner.predict(columns)


def slow(seconds_per_row: float, rows: int, allowed: float) -> tuple[list[Any], Clock]:
    from serving.explain.explainer import KernelExplainer

    wide = tuple(type(INPUTS[0])(f"x{n}", "double") for n in range(14))
    clock = Clock()
    model = Slow(clock, seconds_per_row, MeanPredictor(inputs=wide))

    def score(columns: Columns) -> Any:
        return model.predict(columns).scores.astype(float)[:, None]

    zero = {item.name: np.zeros((1, 1)) for item in wide}
    given = {name: np.ones((rows, 1)) * (1 + n) for n, name in enumerate(zero)}
    explainer = KernelExplainer(score, players(wide, {}), zero, clock=clock)
    scores, began = score(given), clock.now
    found = explainer.explain(given, range(rows), scores, allowed)
    clock.now -= began
    return [one and one.samples for one in found], clock


def test_less_time_fewer_samples() -> None:
    samples, clock = slow(0.001, 2, 100.0)
    assert samples[0] == samples[1]
    assert 2000 < samples[0] <= 2076
    samples, clock = slow(0.001, 2, 3.0)
    assert 1000 < samples[0] <= 1038
    assert clock.now <= 3.0
    samples, clock = slow(0.001, 4, 0.3)
    assert all(28 <= one < 70 for one in samples)
    assert clock.now <= 0.3
    samples, clock = slow(0.001, 8, 0.1)
    assert samples == [28] * 3 + [None] * 5
    assert clock.now <= 0.1
    assert slow(1.0, 3, 20.0)[0] == [None] * 3


@pytest.mark.parametrize(
    ("full", "least", "fit", "found"),
    [(100, 8, 1e9, 100), (100, 8, 99, 50), (100, 8, 13, 12), (100, 8, 8, 8), (100, 8, 7.9, 0), (0, 0, 5, 0)],
)
def test_affordable(full: int, least: int, fit: float, found: int) -> None:
    assert affordable(full, least, fit) == found


def test_without_time_the_prediction_alone(tmp_path: Path) -> None:
    answering = responder(tmp_path, time_share=1e-12)
    status, content, headers = ask(answering)
    assert (status, content["explanations"]) == (200, {})
    assert "chosen=2; explained=0" in headers["x-seaway-explanations"]
    assert "no time" in headers["x-seaway-explanations"]


class Delicate(MeanPredictor):
    """Fails on rows that no client sends."""

    def predict(self, columns: Columns) -> Predictions:
        if len(columns["hour"]) != 2 and (columns["hour"] == 600).any() and (columns["delay"] == 0).any():
            raise ModelFailed("the score is not a finite number")
        return super().predict(columns)


def test_a_model_that_fails_on_mixed_rows_still_answers(tmp_path: Path) -> None:
    status, content, headers = ask(responder(tmp_path, Delicate()))
    assert (status, content["explanations"]) == (200, {})
    assert "mixed with the baseline" in headers["x-seaway-explanations"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "JSON object"),
        ('{"sample": 1}', "'sample'"),
        ('{"enable": "score >"}', "no JMESPath"),
        ('{"samples": 0}', "samples"),
        ('{"samples": true}', "samples"),
        ('{"method": "lime"}', "auto, tree, kernel"),
        ('{"time_share": 1.5}', "time_share"),
        ('{"use_logit": 1}', "true or false"),
        ('{"seed": -1}', "seed"),
        ('{"baseline": []}', "baseline"),
        ('{"groups": {"a": []}}', "groups"),
    ],
)
def test_refused_settings(text: str, said: str) -> None:
    with pytest.raises(EnvironmentInvalid, match="SEAWAY_EXPLAIN") as caught:
        parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"baseline": "typical"}, r"no baseline\.json"),
        ({"baseline": "far/away.csv"}, "cannot be read"),
        ({"baseline": "rows.xls"}, "name typical, rows, or a file"),
        ({"baseline": [{"delay": 1, "carrier": "x"}]}, "'hour' is missing"),
        ({"baseline": [[0, 0, "x"]] * 101}, "at most 100"),
        ({"groups": {"a": ["hours"]}}, "hours"),
        ({"groups": {"a": ["hour"], "b": ["hour"]}}, "one group only"),
    ],
)
def test_refused_baselines_and_groups(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=said):
        responder(tmp_path, **settings)


def test_baselines_from_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("carrier,hour,delay\nx,0,\nx,100,0\n")
    (tmp_path / "baseline.json").write_text(json.dumps({"typical": TYPICAL[0], "rows": TYPICAL * 2}))
    for baseline in ("b.csv", str(tmp_path / "b.csv"), "typical", "rows"):
        _, content, _ = ask(responder(tmp_path, baseline=baseline))
        assert sums(content)[0] == pytest.approx(0.4218990, abs=1e-6)


def test_log_odds_are_for_classifiers(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentInvalid, match="classifiers"):
        responder(tmp_path, MeanPredictor("regression"), use_logit=True)
    _, content, _ = ask(responder(tmp_path, use_logit=True, baseline=[[100, 100, "x"]]))
    score = json.loads(content["predictions"]["data"])["predictions"][0]["score"]
    assert sums(content)[0] == pytest.approx(np.log(score / (1 - score)), abs=1e-5)


def test_only_packages_are_explained(tmp_path: Path) -> None:
    (tmp_path / "pipeline.json").write_text("{}")
    with pytest.raises(EnvironmentInvalid, match="remove it"):
        load(tmp_path, {explain.EXPLAIN: "{}"})
