from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steps import evaluate, gate, report, validation_page


@pytest.fixture(scope="module")
def found():
    import importlib.util

    spec = importlib.util.spec_from_file_location("evaluated", Path(__file__).with_name("test_evaluate.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from configs.load import parse

    setting = parse(__import__("json").dumps(module.BINARY))
    return evaluate.report(
        module.rows_of(), setting, [0, 1], module.good, evaluate.Champion("7", module.poor)
    )


def test_every_chart_is_a_png_and_equal_reports_give_equal_charts(tmp_path: Path, found) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        names = report.draw(found, {"train_score": [0.4, 0.5], "validation_score": [0.3, 0.4]}, folder)
    assert names == ["roc.png", "calibration.png", "confusion.png", "slices-c.png", "training.png"]
    for name in names:
        data = (first / name).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert data == (second / name).read_bytes()


def test_the_sheet_says_what_to_decide(found, project) -> None:
    thresholds = project(gate=[{"metric": "roc_auc", "min": 0.5}, {"metric": "brier", "max": 0.01}]).gate
    results = gate.decide(thresholds, found)
    sheet = report.decision_sheet("Late 3", found, results, {"Data": "ab12"}, {"Run": "http://run"})
    assert sheet.startswith("# Late 3\n\n**1 of 2 gates failed.** Do not approve: brier is")
    assert "| roc_auc | higher | " in sheet
    assert "- [Run](http://run)" in sheet
    assert "- Data: `ab12`" in sheet
    good = report.decision_sheet("Late 3", found, results[:1])
    assert "**All 1 gates passed.** By roc_auc the challenger is better than champion 7." in good


PARITY = {"rows": 400, "max_abs_difference": 2e-7, "rank_agreement": 1.0, "passed": True, "reason": None}
SPEED = [
    {"rows": 1, "sklearn": 0.002, "onnx": 0.0001, "ratio": 20.0, "close": False},
    {"rows": 1000, "sklearn": 0.002, "onnx": 0.002, "ratio": 1.0, "close": True},
]
PACKED = {"runtime": "onnx", "trained_from": None, "parity": PARITY, "quantisation": None, "speed": SPEED}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {},
            "**The compiled model answers.** On 400 hold-out rows the compiled model's scores differ by 2.0e-07",
        ),
        ({}, "| 1 | 0.100 | 2.000 | 20.0 times |\n| 1,000 | 2.000 | 2.000 | 1.0 times, close |"),
        ({"trained_from": 1000}, "the trained one from 1,000 rows on"),
        (
            {"runtime": "skops", "parity": {**PARITY, "reason": "too far"}},
            "trained model answers:** too far.",
        ),
        ({"quantisation": {"mode": "int8", "applied": False, "reason": "no matrices"}}, "int8: no matrices."),
        ({"quantisation": {"mode": "int8", "applied": True, "reason": None}}, "stored as int8"),
    ],
)
def test_the_sheet_says_what_will_answer(found, changed: dict, words: str) -> None:
    assert words in report.decision_sheet("Late 3", found, [], packed={**PACKED, **changed})


def test_a_sheet_without_champion(project) -> None:
    rows = pl.DataFrame({"y": [0.0, 1.0, 2.0] * 50, "when": range(150), "c": ["a"] * 150})
    setting = project(train__task="regression")
    plain = evaluate.report(rows, setting, None, lambda rows: np.ones(rows.height), None)
    sheet = report.decision_sheet("Numbers", plain, [])
    assert "There is no champion yet." in sheet
    assert "| Metric | Better | Challenger |\n" in sheet


def test_the_page_loads_nothing_and_escapes_what_it_shows() -> None:
    check = {"expectation": "expect_column_values_to_be_in_set", "column": "<b>", "expected": "value_set ['<i>']",
             "severity": "critical", "passed": False, "observed": "3 rows", "unexpected": 3}  # fmt: skip
    facts = {
        "suite": "s",
        "passed": False,
        "rows": 5,
        "fail_on": "critical",
        "checks": [check],
        "failures": [check],
    }
    page = validation_page.render(facts)
    assert "<b>" not in page.replace("<b class", "")
    assert "&lt;i&gt;" in page
    assert "http" not in page
    assert "does not meet" in page
