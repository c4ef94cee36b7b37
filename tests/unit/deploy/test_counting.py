from __future__ import annotations

from datetime import UTC, datetime

from deploy.counting import UNMET, increase, without_unmet
from deploy.port import Counters
from monitoring.alarms import Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def since(before: Counters, after: Counters) -> Sample:
    return increase({"envoy": before}, {"envoy": after}, NOW)


def test_what_the_gateway_refused_is_no_failure_of_the_model() -> None:
    before = Counters(requests=10, errors_5xx=2, refused=1)
    sample = since(before, Counters(requests=30, errors_4xx=1, errors_5xx=9, refused=6))
    assert (sample.requests, sample.errors_4xx, sample.errors_5xx) == (15, 1, 2)
    assert sample.other["refused"] == 5


def test_a_refusal_read_before_its_totals_makes_no_negative_counts() -> None:
    sample = since(Counters(requests=10), Counters(requests=10, refused=1))
    assert (sample.requests, sample.errors_5xx) == (0, 0)


def test_gateways_add_up_and_zeros_stay() -> None:
    one = Counters(requests=3, refused=1, other={"upstream_rq_timeout": 0})
    sample = increase({}, {"a": one, "b": one}, NOW)
    assert (sample.requests, sample.other) == (4, {"upstream_rq_timeout": 0, "refused": 2})


def test_a_total_that_fell_counts_from_zero() -> None:
    sample = since(Counters(requests=10, refused=8), Counters(requests=3, errors_5xx=1, refused=1))
    assert (sample.requests, sample.errors_5xx, sample.other["refused"]) == (2, 0, 1)


def test_what_met_no_instance_is_no_answer() -> None:
    sample = since(Counters(), Counters(requests=9, errors_4xx=1, errors_5xx=5, other={UNMET: 4}))
    found = without_unmet(sample)
    assert (found.requests, found.errors_4xx, found.errors_5xx) == (5, 1, 1)
    assert without_unmet(Sample(NOW)) == Sample(NOW)
