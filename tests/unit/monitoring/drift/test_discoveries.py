import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from monitoring.drift.discoveries import by_evidence, q_values

P = [0.01, 0.04, 0.03, 0.005, 0.8, 0.2]


@pytest.mark.parametrize(("dependence", "method"), [("positive", "bh"), ("any", "by")])
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_agrees_with_scipy(dependence, method, p):
    assert q_values(p, dependence) == pytest.approx(false_discovery_control(p, method=method), abs=1e-12)


def test_what_is_no_test_does_not_count():
    alone = q_values(P)
    mixed = q_values([P[0], None, *P[1:], math.nan])
    assert mixed == (alone[0], None, *alone[1:], None)
    assert q_values([]) == ()


def test_evidence():
    logs = {"a": math.log(100), "b": math.log(21), "c": math.log(2), "d": 0.0}
    assert by_evidence(logs, 0.05) == ("a",)  # needs 80, 40, 26.7
    assert by_evidence({**logs, "b": math.log(41)}, 0.05) == ("a", "b")
    assert by_evidence({}, 0.05) == ()
