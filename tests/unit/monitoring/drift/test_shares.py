"""Shares against constraints: exact tests, and which rows a constraint stands for."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, hypergeom

from monitoring.drift import checks, constraints, shares
from monitoring.drift.analysis import analyse
from monitoring.drift.shares import Rule
from monitoring.profiles import Categories, Profile, scan

LITERAL = Rule("sagemaker")


@pytest.mark.parametrize(
    ("bad", "n", "then", "n_then"),
    [(3, 100, 5, 1000), (1, 7, 0, 40), (40, 60, 10, 30), (900, 9000, 300, 4000)],
)
def test_fishers_test_is_the_hypergeometric_tail(bad, n, then, n_then):
    expected = hypergeom.sf(bad - 1, n + n_then, bad + then, n)
    assert shares.beyond_baseline(bad, n, then, n_then) == pytest.approx(expected, rel=1e-8)


def test_edges_of_fishers_test():
    assert shares.beyond_baseline(0, 10, 5, 10) == 1
    assert shares.beyond_baseline(5, 5, 0, 0) == 1
    assert shares.beyond_baseline(10**6, 10**6, 0, 10**6) < 1e-300


@pytest.mark.parametrize(("bad", "n", "share"), [(3, 100, 0.01), (20, 50, 0.3), (1, 1, 0.2)])
def test_a_number_that_somebody_set_is_held_against_the_binomial_law(bad, n, share):
    assert shares.beyond_threshold(bad, n, share) == pytest.approx(binom.sf(bad - 1, n, share))


def test_edges_of_the_binomial_test():
    assert shares.beyond_threshold(1, 10**6, 0.0) == 0
    assert shares.beyond_threshold(0, 10, 0.0) == shares.beyond_threshold(10, 10, 1.0) == 1


def test_new_categories_shuffled():
    """The bound holds: shuffle the same rows again and again, ask each time."""
    rng = np.random.default_rng(2)
    values = np.array(["a"] * 300 + ["b"] * 80 + ["c"] * 3 + ["d"] * 2 + ["e", "f", "g"])
    found = []
    for _ in range(100):
        rng.shuffle(values)
        found.append(shares.new_categories(counted(values[:300]), counted(values[300:])))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) <= level + 0.05


def counted(values):
    return Categories.of(
        dict(zip(*(one.tolist() for one in np.unique(values, return_counts=True)), strict=True))
    )


def test_new_categories_that_matter_are_seen():
    then = Categories.of({"a": 3000, "b": 1000})
    assert shares.new_categories(then, Categories.of({"a": 700, "c": 1})) > 0.1
    assert shares.new_categories(then, Categories.of({"a": 700, "c": 8})) < 1e-4
    many = {f"n{i}": 1 for i in range(30)}
    assert shares.new_categories(then, Categories.of({"a": 700, **many})) < 1e-6
    assert shares.new_categories(then, Categories.of({"a": 700})) == 1


def table(n, seed, missing=0.02, negative=0):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=n)
    x[:negative] *= -1
    gone = pl.Series(rng.random(n) < missing)
    return pl.DataFrame({"x": x, "s": rng.choice(["a", "b"], n)}).with_columns(
        x=pl.when(gone).then(None).otherwise(pl.col("x"))
    )


BASELINE = scan.profile(table(5000, 1))
SUGGESTED = constraints.suggest(BASELINE)


def checked(window, rule=None):
    """Checks of shares that are violated."""
    found = analyse(BASELINE, SUGGESTED, scan.profile(window), rule=rule)
    return [one.check for one in found.violations if one.check != "baseline_drift_check"]


HONEST = [analyse(BASELINE, SUGGESTED, scan.profile(table(400, seed))) for seed in range(40, 48)]


def test_an_honest_window_is_below_its_baseline_by_chance_and_violates_nothing():
    below = [one for one in HONEST if one.details.shares]
    assert len(below) >= 2
    assert not [one for one in HONEST if one.violations]
    assert checked(table(400, 40 + HONEST.index(below[0])), LITERAL) == ["completeness_check"]


def test_what_chance_explains_is_told_and_published():
    found = next(one for one in HONEST if one.details.shares)
    (below,) = found.details.shares
    assert (below.check, below.violated, below.n) == ("completeness_check", False, 400)
    assert 0.025 < below.p_value < 1
    assert "which chance explains" in found.notes[0]
    shown = {one.name: one.value for one in found.figures if not one.dimensions}
    assert shown["feature_non_null_x"] == below.share
    assert (shown["feature_type_match_x"], shown["feature_in_domain_s"]) == (1.0, 1.0)


def test_what_it_does_not_explain_keeps_sagemakers_sentence():
    window = scan.profile(table(400, 3, missing=0.2))
    found = analyse(BASELINE, SUGGESTED, window)
    literal = analyse(BASELINE, SUGGESTED, window, rule=LITERAL)
    assert found.violations == literal.violations
    share = window.columns["x"].completeness
    assert found.violations[0].description == f"Value: {share} does not meet the constraint requirement! "
    assert found.documents["constraints.json"] == literal.documents["constraints.json"]


def test_every_check_of_a_share_asks_for_chance():
    one_bad = pl.DataFrame({"x": [*[1.0] * 499, -1.0], "s": [*["a"] * 499, "z"]})
    assert checked(one_bad, LITERAL) == ["is_non_negative_check", "categorical_values_check"]
    assert checked(one_bad) == []
    bad = pl.DataFrame({"x": [*[1.0] * 480, *[-1.0] * 20], "s": [*["a"] * 480, *["z"] * 20]})
    assert {"is_non_negative_check", "categorical_values_check"} <= set(checked(bad))
    text = scan.profile(pl.DataFrame({"x": [*["1.5"] * 480, *["no"] * 20], "s": ["a"] * 500}))
    few = scan.profile(pl.DataFrame({"x": [*["1.5"] * 499, "no"], "s": ["a"] * 500}))
    assert [bool(found(one)) for one in (text, few)] == [True, False]
    assert found(few, LITERAL)


def found(window, rule=None):
    finding = analyse(BASELINE, SUGGESTED, window, rule=rule)
    return [one for one in finding.violations if one.check == "data_type_check"]


def test_what_a_person_set_is_meant_as_it_stands():
    one_bad = pl.DataFrame({"x": [*[1.0] * 499, -1.0], "s": [*["a"] * 499, "z"]})
    rule = Rule(given={"x": {"is_non_negative"}, "s": {"domains"}})
    assert checked(one_bad, rule) == ["is_non_negative_check", "categorical_values_check"]
    tighter = constraints.read(
        {"features": [{"name": "x", "inferred_type": "Fractional", "completeness": 0.995}]}
    )
    window = scan.profile(table(400, 44))
    (below,) = checks.unmet(tighter, window, judge=Rule().judge(BASELINE))
    assert below.p_value == pytest.approx(binom.sf(below.bad - 1, 400, 0.005))
    unknown = checks.unmet(tighter, window, judge=Rule().judge(Profile()))
    assert unknown == (below,)


def test_the_level_is_shared_by_all_checks():
    window = scan.profile(table(400, 3, missing=0.2))
    below = checks.unmet(SUGGESTED, window, judge=Rule(alpha=0.06).judge(BASELINE))
    asked = 6  # completeness and type of both, domain of s, sign of x
    assert below[0].level == pytest.approx(0.06 / asked)
