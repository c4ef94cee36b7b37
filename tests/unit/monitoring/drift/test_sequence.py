"""The alarm over time: its null is kept, for ever, and what drifts is found."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from monitoring.drift import reference, sequence
from monitoring.drift.reference import Count, Event
from monitoring.drift.sequence import Reference, Watch
from monitoring.profiles import Profile, scan

ALPHA = 0.05


def made(*events, alpha=ALPHA, design=1.0):
    return Reference(Profile(), tuple(events), alpha, design)


def draw(rng, n, shift=0.0):
    return pl.DataFrame(
        {"x": rng.normal(shift, 1, n), "s": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])}
    )


EVENT = Event("x", "at most", 0.0, 0.4, 0.5)


@given(
    low=st.floats(0.01, 0.9),
    width=st.floats(0, 0.3),
    place=st.floats(0, 1),
    n=st.integers(1, 60),
    off=st.integers(0, 3),
)
def test_one_window_expects_at_most_one(low, width, place, n, off):
    """E[e] <= 1 for every share inside the interval, by summing over all outcomes; also with a sketch's error."""
    high = min(0.99, low + width)
    event = made(Event("x", "at most", 0.0, low, high))
    k = np.arange(n + 1)
    mass = binom.pmf(k, n, low + place * (high - low))
    factors = [
        np.exp(sequence._log_e(event, [Count(max(0, i - off), min(n, i + off), n)])).ravel()
        for i in k.tolist()
    ]
    assert (mass @ np.array(factors) <= 1 + 1e-9).all()


@given(st.lists(st.tuples(st.integers(0, 40), st.just(40)), min_size=1, max_size=12))
def test_the_short_memory_is_the_mixture_over_all_starts(windows):
    """The recursion equals the sum over every window at which the drift could have begun."""
    one = made(EVENT)
    watch, factors = Watch(), []
    for k, n in windows:
        watch = sequence.weigh(one, watch, [Count(k, k, n)])
        factors.append(sequence._log_e(one, [Count(k, k, n)])[0])
    last, total = len(windows), np.array(factors)
    starts = [1 / (s * (s + 1)) * np.exp(total[s - 1 :].sum(axis=0)) for s in range(1, last + 1)]
    expected = np.mean(np.sum(starts, axis=0)) + 1 / (last + 1)
    assert watch.log_evidence == pytest.approx(math.log(expected), abs=1e-9)


def test_a_thousand_days_without_drift():
    """Forty models side by side, each with a baseline that is a sample too, for a thousand days of 500 rows."""
    rng, share, rows, models = np.random.default_rng(0), np.array([0.6, 0.3, 0.1]), 2000, 40
    events = [
        Event(str(model), "category", name, *reference.clopper_pearson(count, rows, ALPHA / 2 / 3))
        for model, counts in enumerate(rng.multinomial(rows, share, models).tolist())
        for name, count in zip("abc", counts, strict=True)
    ]
    one, watch, peak = made(*events), Watch(), np.zeros(models)
    for day in rng.multinomial(500, share, (1000, models)).reshape(1000, -1).tolist():
        watch = sequence.weigh(one, watch, [Count(k, k, 500) for k in day])
        peak = np.maximum(peak, list(watch.features.values()))
    assert (peak >= math.log(2 / ALPHA)).sum() <= ALPHA * models


def test_without_the_baselines_uncertainty_it_would_cry_wolf():
    """Why the intervals: taking the baseline's shares for the truth raises the alarm in the end."""
    rng = np.random.default_rng(5)
    off = 300 / 500 - 0.03
    one, watch = made(Event("s", "category", "a", off, off)), Watch()
    for k in rng.binomial(500, 0.6, 300).astype(float):
        watch = sequence.weigh(one, watch, [Count(k, k, 500)])
    assert watch.alarmed_at is not None


def test_a_late_shift_is_found_and_named():
    rng = np.random.default_rng(1)
    one, watch = sequence.begin(scan.profile(draw(rng, 8000))), Watch()
    for _ in range(30):
        watch = sequence.look(one, watch, scan.profile(draw(rng, 1000)))
    assert (watch.alarmed_at, watch.drifting) == (None, ())
    while watch.windows < 45 and watch.alarmed_at is None:
        watch = sequence.look(one, watch, scan.profile(draw(rng, 1000, 0.25)))
    assert 31 <= (watch.alarmed_at or 99) <= 38
    assert watch.drifting == ("x",)
    later = sequence.look(one, watch, scan.profile(draw(rng, 1000)))
    assert later.alarmed_at == watch.alarmed_at


def test_missing_and_unseen_values_are_drift_too():
    rng = np.random.default_rng(2)
    one = sequence.begin(scan.profile(draw(rng, 8000)))
    gone = draw(rng, 1000).with_columns(x=pl.when(pl.int_range(1000) < 150).then(None).otherwise(pl.col("x")))
    new = draw(rng, 1000).with_columns(
        s=pl.when(pl.int_range(1000) < 250).then(pl.lit("d")).otherwise(pl.col("s"))
    )
    for frame, name in ((gone, "x"), (new, "s")):
        watch = Watch()
        for _ in range(3):
            watch = sequence.look(one, watch, scan.profile(frame))
        assert watch.drifting == (name,)


def test_it_can_be_put_down_and_taken_up():
    rng = np.random.default_rng(3)
    one, watch = sequence.begin(scan.profile(draw(rng, 3000))), Watch()
    for _ in range(3):
        watch = sequence.look(one, watch, scan.profile(draw(rng, 300)))
    again = sequence.read(json.loads(json.dumps(sequence.document(watch))))
    assert sequence.document(again) == sequence.document(watch)
    window = scan.profile(draw(rng, 300))
    assert sequence.look(one, again, window).log_evidence == sequence.look(one, watch, window).log_evidence


def test_what_says_nothing_changes_nothing():
    one = sequence.begin(scan.profile(draw(np.random.default_rng(4), 500)))
    watch = sequence.look(one, Watch(), Profile())
    assert watch.windows == 0
    other = sequence.look(one, watch, scan.profile(pl.DataFrame({"z": [1, 2]})))
    assert other.log_evidence == pytest.approx(0)
    nothing = sequence.begin(Profile())
    assert sequence.look(nothing, Watch(), scan.profile(pl.DataFrame({"z": [1]}))).alarmed_at is None


def test_clumps_count_once():
    one, clumped = made(EVENT), made(EVENT, design=10)
    single = sequence.weigh(one, Watch(), [Count(8, 8, 10)])
    assert sequence.weigh(clumped, Watch(), [Count(80, 80, 100)]).log_evidence == pytest.approx(
        single.log_evidence
    )


def test_wrong_use_says_so():
    with pytest.raises(ValueError, match="alpha"):
        sequence.begin(Profile(), alpha=0)
    with pytest.raises(ValueError, match="design"):
        sequence.begin(Profile(), design=0.5)
    watch = sequence.weigh(made(EVENT), Watch(), [Count(5, 5, 10)])
    with pytest.raises(ValueError, match="another baseline"):
        sequence.weigh(made(EVENT, EVENT), watch, [Count(5, 5, 10)] * 2)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_intervals_hold_what_they_say(share):
    rng = np.random.default_rng(6)
    missed = 0
    for k in rng.binomial(300, share, 400).tolist():
        low, high = reference.clopper_pearson(k, 300, 0.1)
        missed += not low <= share <= high
    assert missed <= 60
    assert reference.clopper_pearson(0, 10, 0.1)[0] == 0
    assert reference.clopper_pearson(10, 10, 0.1)[1] == 1


def test_the_baselines_intervals_hold_the_truth():
    from scipy.stats import norm

    truth, missed = {"a": 0.6, "b": 0.3, "c": 0.1, None: 0.0}, 0
    for seed in range(30):
        events = reference.events(scan.profile(draw(np.random.default_rng(seed), 200)), 0.05, 0.0)
        true = [norm.cdf(one.value) if one.kind == "at most" else truth[one.value] for one in events]
        missed += not all(one.low <= share <= one.high for one, share in zip(events, true, strict=True))
    assert missed <= 3
