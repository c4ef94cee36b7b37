from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.retraining import Price, Situation, decide

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PRICE = Price(value=0.5, cost=100.0, horizon=timedelta(days=30))
WORSE = Situation(
    metric="accuracy",
    higher_is_better=True,
    value=0.85,
    low=0.83,
    high=0.87,
    reference=0.90,
    labels=5000,
    coverage=0.6,
    per_day=1000,
)


def test_it_pays_when_what_is_surely_won_exceeds_the_cost() -> None:
    decision = decide(PRICE, WORSE, NOW)
    assert decision.retrain
    assert decision.benefit == pytest.approx(0.8 * 0.05 * 30_000 * 0.5)
    assert decision.cautious == pytest.approx(0.8 * 0.03 * 30_000 * 0.5)
    assert "0.8500" in decision.reason


def test_losses_are_better_when_small() -> None:
    error = replace(WORSE, metric="mae", higher_is_better=False, value=3.0, low=2.8, high=3.2, reference=2.5)
    assert decide(PRICE, error, NOW).cautious == pytest.approx(0.8 * 0.3 * 30_000 * 0.5)


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (replace(WORSE, high=0.91), "not worth it"),
        (replace(WORSE, per_day=1), "not worth it"),
        (replace(WORSE, value=None), "not known yet"),
        (replace(WORSE, reference=None), "build it again"),
        (replace(WORSE, labels=20), "20 labels"),
        (replace(WORSE, last=NOW - timedelta(days=2)), "cool-down"),
    ],
)
def test_reasons_not_to(situation: Situation, words: str) -> None:
    decision = decide(PRICE, situation, NOW)
    assert not decision.retrain
    assert words in decision.reason


def test_too_few_labels_of_all_decide_nothing() -> None:
    assert "60%" in decide(replace(PRICE, minimum_coverage=0.7), WORSE, NOW).reason


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.2), st.floats(0.0, 1.0), st.floats(0, 1e6))
def test_noise_alone_never_trains(value: float, margin: float, reference: float, per_day: float) -> None:
    """As long as the interval reaches the reference, nothing is sure to be won."""
    situation = replace(
        WORSE, value=value, low=value - margin, high=value + margin, reference=reference, per_day=per_day
    )
    decision = decide(PRICE, situation, NOW)
    assert decision.retrain is (decision.cautious > PRICE.cost)
    if value + margin >= reference:
        assert not decision.retrain
