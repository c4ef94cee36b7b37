"""The page and the picture come out for every kind of comparison, and load nothing."""

from __future__ import annotations

import json

import pytest

from flows import comparing
from monitoring.paired import Answer, Pair, compare
from monitoring.payloads import Prediction
from steps import comparison_page, comparison_tables

pytestmark = pytest.mark.integration
HEADING = comparing.Heading("replay", "arrivals", "m version 1", "m version <2>", "then", "now")


def answer(score: float, label: str | None = None, milliseconds: float | None = None) -> Answer:
    return Answer((Prediction(label, (score,)),), 200, milliseconds)


def rich() -> list[Pair]:
    failed = Pair("x", answer(0.1, "0"), Answer(status=500))
    pairs = [
        Pair(
            str(n),
            answer(0.4, "0", 1.0 + n),
            answer(0.4 + n / 50, "1" if n > 5 else "0", 2.0),
            ("<b>",),
            {0: 1},
        )
        for n in range(10)
    ]
    return [*pairs, failed]


CASES = {
    "nothing": [],
    "one side alone": [Pair("1", answer(0.5), None)],
    "identical": [Pair("1", answer(0.5), answer(0.5))],
    "only errors": [Pair("1", answer(0.5), Answer(status=500))],
    "opaque": [Pair("1", Answer((Prediction(content="a"),)), Answer((Prediction(content="b"),)))],
    "rich": rich(),
}


@pytest.mark.parametrize("name", CASES)
def test_a_page_for_every_case(name):
    report = comparing.document(HEADING, compare(CASES[name]), most_changed=0.1)
    page = comparison_page.page(report)
    assert page.startswith("<!doctype html>")
    assert "&lt;2&gt;" in page
    assert "<b>" not in page.replace("<b>", "", page.count("<div><b>"))
    assert "http" not in page
    assert comparison_page.picture(report).startswith(b"\x89PNG")
    assert json.loads(comparing.written(report))["kind"] == "replay"
    assert comparing.sentence(report)
    assert all(
        len({tuple(row) for row in rows}) == 1 for _, rows in comparison_tables.sections(report["comparison"])
    )


def test_the_sentence_names_what_matters():
    said = comparing.sentence(comparing.document(HEADING, compare(rich())))
    assert said == (
        "4 of 10 labels flip (45.45%); 1 requests fail on the candidate alone; "
        "by 10 labels the candidate is undecided (4 better, 0 worse)"
    )


def test_the_same_comparison_gives_the_same_bytes():
    one, other = (comparing.written(comparing.document(HEADING, compare(rich()))) for _ in range(2))
    assert one == other
    report = comparing.document(HEADING, compare(rich()))
    assert comparison_page.picture(report) == comparison_page.picture(report)
