"""The alarm over time carried from window to window: late rows, windows done twice, overlaps, settling."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import over_time, sequence
from monitoring.drift.analysis import DataQuality
from monitoring.drift.over_time import Chain, Link
from monitoring.drift.reference import Count, Event
from monitoring.drift.sequence import Reference, Watch
from monitoring.findings import Finding
from monitoring.profiles import Profile

NOON, HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC), timedelta(hours=1)
AGAINST = Reference(
    Profile(), (Event("x", "at most", 0.0, 0.48, 0.52), Event("y", "missing", None, 0.0, 0.02)), 0.05, 1.0
)


def link(hour, x=250.0, y=5.0, n=500.0):
    at = NOON + hour * HOUR
    return Link(at, at - HOUR, at, (Count(x, x, n), Count(y, y, n)))


def chained(links, chain=None):
    made = chain or Chain()
    for one in links:
        made = over_time.joined(AGAINST, made, one)
    return made


def straight(links):
    watch = Watch()
    for one in links:
        watch = sequence.weigh(AGAINST, watch, one.counts)
    return watch


RNG = np.random.default_rng(3)
CALM = [link(hour, float(x)) for hour, x in enumerate(RNG.binomial(500, 0.5, 60).tolist())]


def test_a_chain_says_what_the_watch_says():
    chain = chained(CALM)
    stands = over_time.standing(AGAINST, chain, CALM[-1].scheduled)
    assert stands.watch.log_evidence == pytest.approx(straight(CALM).log_evidence, abs=1e-12)
    assert (stands.watch.windows, stands.drifting, stands.raised) == (60, False, None)
    assert 48 <= len(chain.links) <= 50


def test_a_window_that_is_done_again_counts_once_with_what_came_late():
    late = link(57, 265.0, 5.0, 530.0)
    again = chained([late, late], chained(CALM))
    expected = straight([*CALM[:57], late, *CALM[58:]])
    stands = over_time.standing(AGAINST, again, CALM[-1].scheduled)
    assert stands.watch.log_evidence == pytest.approx(expected.log_evidence, abs=1e-12)
    assert over_time.document(chained([late], again)) == over_time.document(again)
    then = over_time.standing(AGAINST, again, late.scheduled)
    assert then.watch.windows == 58


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(200, 300)), min_size=1, max_size=9),
)
@settings(max_examples=15, deadline=None)
def test_only_the_last_look_at_each_window_counts(looks):
    """In whatever order windows are looked at, and however often."""
    last = {hour: link(hour, float(count)) for hour, count in looks}
    order = list(dict.fromkeys(hour for hour, _ in looks))
    chain = chained(link(hour, float(count)) for hour, count in looks)
    stands = over_time.standing(AGAINST, chain, link(order[-1]).scheduled)
    expected = straight(last[hour] for hour in order)
    assert stands.watch.log_evidence == pytest.approx(expected.log_evidence, abs=1e-9)
    assert stands.watch.windows == len(order)


def test_what_is_settled_is_not_counted_again():
    chain = chained(CALM)
    first = CALM[0]
    assert over_time.standing(AGAINST, chain, first.scheduled) is None
    assert over_time.part(chain, first.scheduled, first.begun, first.ended) is None


def test_no_row_counts_twice_where_windows_overlap():
    chain = chained(CALM[:3])
    last = CALM[2]
    longer = over_time.part(chain, last.ended + HOUR, last.ended - 5 * HOUR, last.ended + HOUR)
    assert longer == (last.ended, last.ended + HOUR)
    assert over_time.part(chain, last.ended + HOUR, last.begun, last.ended) is None
    assert over_time.part(chain, last.scheduled, last.begun - HOUR, last.ended) == (last.begun, last.ended)
    quiet = over_time.part(chained([CALM[0], CALM[2]]), CALM[1].scheduled, CALM[1].begun, CALM[1].ended)
    assert quiet == (CALM[1].begun, CALM[1].ended)


def test_at_most_two_hundred_links_stay_open():
    minutes = [
        Link(at, at - HOUR / 60, at, CALM[0].counts) for at in (NOON + i * HOUR / 60 for i in range(230))
    ]
    chain = chained(minutes)
    assert (len(chain.links), chain.settled.windows) == (over_time.LINKS, 30)
    assert chain.through == minutes[29].ended


def test_it_is_kept_as_plain_numbers():
    chain = chained(CALM)
    again = over_time.read(json.loads(json.dumps(over_time.document(chain))))
    assert over_time.document(again) == over_time.document(chain)
    assert again.links == chain.links


def test_an_alarm_is_a_violation_that_names_the_column():
    shifted = [link(60 + hour, 300.0) for hour in range(8)]
    chain = chained(shifted, chained(CALM))
    stands = over_time.standing(AGAINST, chain, shifted[-1].scheduled)
    found = over_time.told(Finding("DataQuality", 500, details=DataQuality()), stands)
    (violation,) = found.violations
    assert (violation.check, violation.subject) == ("drift_over_time_check", (("feature_name", "@inputs"),))
    assert violation.description.endswith("columns: x")
    assert "exceeds threshold: 10^1.60" in violation.description
    assert f"{stands.raised:%Y-%m-%d %H:%M}" in violation.description
    assert shifted[0].ended <= stands.raised <= shifted[-1].ended
    assert [one.name for one in found.figures] == [
        "drift_over_time",
        "feature_drift_over_time_x",
        "feature_drift_over_time_y",
    ]
    assert found.details.over_time is stands
    settled = chained([link(200)], chain)
    assert over_time.standing(AGAINST, settled, link(200).scheduled).raised == stands.raised


def test_no_alarm_is_no_violation():
    stands = over_time.standing(AGAINST, chained(CALM), CALM[-1].scheduled)
    found = over_time.told(Finding("DataQuality", 500, details=DataQuality()), stands)
    assert (found.violations, found.notes) == ((), ())
