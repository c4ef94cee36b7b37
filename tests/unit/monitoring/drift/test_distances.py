"""Golden vectors of Deequ, Model Monitor, Evidently and NannyML, and agreement with scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from monitoring.drift import bins, comparison, distances, distribution

NEAR = {"abs": 1e-12, "rel": 1e-12}
A = {"a": 10, "b": 20, "c": 25, "d": 10, "e": 5}
B = {"a": 11, "b": 20, "c": 25, "d": 10, "e": 10}
X = {"a": 207, "b": 20, "c": 25, "d": 14, "e": 25, "g": 13}
Y = {"a": 22, "b": 20, "c": 25, "d": 12, "e": 13, "f": 15}
P, Q = (0.5, 0.3, 0.2), (0.4, 0.4, 0.2)
REFERENCE, CURRENT = np.arange(1, 101), np.arange(11, 111)


def linf_numeric(a, b):
    return distribution.linf(distribution.of(a), distribution.of(b))


def wasserstein(a, b):
    return distribution.wasserstein(distribution.of(a), distribution.of(b))


def scaled_wasserstein(reference, current):
    return wasserstein(reference, current) / np.std(reference)


@pytest.mark.parametrize(
    ("a", "b", "simple", "corrected"),
    [
        ([1, 2, 3, 4], [2, 3, 4, 5], 0.25, 0.0),
        (REFERENCE, CURRENT, 0.1, 0.0),
        (np.arange(10_000), np.arange(1000, 11_000), 0.1, 0.07454415587728438),
        ([1, 1, 1, 2], [1, 2, 2, 2], 0.5, 0.0),
    ],
)
def test_linf_of_numbers(a, b, simple, corrected):
    found = linf_numeric(a, b)
    assert found == pytest.approx(simple, **NEAR)
    assert distances.robust(found, len(a), len(b)) == pytest.approx(corrected, **NEAR)


@pytest.mark.parametrize(
    ("other", "simple"),
    [(B, 0.06015037593984962), ({"f": 11, "a": 20, "c": 25, "d": 10, "e": 10}, 0.2857142857142857)],
)
def test_linf_of_categories(other, simple):
    found = distances.linf_categorical(A, other)
    assert found == pytest.approx(simple, **NEAR)
    assert distances.robust(found, sum(A.values()), sum(other.values())) == 0.0


@pytest.mark.parametrize(
    ("alpha", "corrected"),
    [(None, 0.27298150100888496), (0.003, 0.2726338046550349), (0.1, 0.33774199396969184)],
)
def test_robust_linf_at_a_level(alpha, corrected):
    found = distances.linf_categorical(X, Y)
    robust = distances.robust(found, sum(X.values()), sum(Y.values()), alpha)
    assert robust == pytest.approx(corrected, **NEAR)


@pytest.mark.parametrize(
    ("n", "expected"), [(100, 0.2546), (500, 0.1138), (1000, 0.0805), (10_000, 0.0255), (100_000, 0.0081)]
)
def test_dead_zone(n, expected):
    assert distances.correction(n, n) == pytest.approx(expected, abs=5.1e-5)
    assert (distances.robust(0.2, n, n) > 0.1) == (n > 648)


@pytest.mark.parametrize(
    ("sample", "expected", "statistic", "p"),
    [
        (
            X,
            {"a": 223, "b": 20, "c": 25, "d": 12, "e": 13, "f": 15},
            28.175042782458064,
            3.364019129843654e-05,
        ),
        (
            {"a": 207, "b": 20, "c": 25, "d": 14, "e": 25},
            {"a": 223, "b": 20, "c": 25, "d": 12, "e": 13},
            12.630803685909783,
            0.013227994814265152,
        ),
        (
            {"a": 100, "b": 20, "c": 25, "d": 10, "e": 5, "f": 2},
            {"a": 100, "b": 22, "c": 25, "d": 5, "e": 13, "f": 2},
            8.789790456457123,
            0.06657394129372698,
        ),
        (
            {"a": 100, "b": 40, "c": 30, "d": 10},
            {"a": 100, "b": 40, "c": 30, "e": 4},
            0.38754325259515626,
            0.8238460275540918,
        ),
        (
            {"a": 100, "b": 4, "c": 3, "d": 27},
            {"a": 100, "b": 4, "c": 3, "d": 34},
            1.1507901668129925,
            0.5624825973613068,
        ),
        (
            {"a": 100, "b": 4, "c": 3, "d": 27, "e": 20, "f": 20, "g": 20, "h": 20},
            {"a": 100, "b": 2, "c": 1, "d": 34, "e": 20, "f": 20, "g": 20, "h": 20},
            6.827423492761593,
            0.3371023935548595,
        ),
        ({"a": 30}, {"a": 20, "b": 20}, 30.0, 4.3204630578e-08),
        ({"a": 100, "b": 4, "c": 3}, {"a": 100, "b": 4, "c": 3}, math.nan, math.nan),
        ({"a": 15, "b": 20}, {"c": 20, "d": 20}, math.nan, math.nan),
        ({"a": 10, "b": 20}, {"b": 20}, math.nan, math.nan),
    ],
)
def test_chi_squared_as_deequ_groups(sample, expected, statistic, p):
    found = distances.chi_squared(sample, expected)
    assert found == pytest.approx((statistic, p), nan_ok=True, abs=1e-12, rel=1e-10)


def test_stability_index_of_ten_bins():
    actual = [426, 437, 429, 391, 469, 433, 360, 443, 371, 418]
    expected = [428, 425, 414, 427, 440, 447, 380, 386, 444, 386]
    found = distances.psi(distances.shares(actual), distances.shares(expected))
    assert found == pytest.approx(0.007406694184014186, **NEAR)


def test_shares():
    assert distances.kl(P, Q) == pytest.approx(0.025267153921570557, **NEAR)
    assert distances.psi(P, Q) == pytest.approx(0.05108256237659909, **NEAR)
    assert distances.js_distance(P, Q) == pytest.approx(0.07979472622921702, **NEAR)
    assert distances.js_distance(P, Q, 2) == pytest.approx(0.09584323377689244, **NEAR)
    assert distances.js_divergence(P, Q) == pytest.approx(0.006367198333995694, **NEAR)
    assert distances.hellinger(P, Q) == pytest.approx(0.079851380615908, **NEAR)
    assert distances.tvd(P, Q) == pytest.approx(0.1, **NEAR)


def test_two_tables():
    found = distances.homogeneity({"a": 50, "b": 30, "c": 20}, {"a": 40, "b": 40, "c": 20})
    assert found == pytest.approx((2.5396825396825395, 0.28087620176428163), **NEAR)


def test_small_numbers():
    reference, current = np.arange(1, 11), np.arange(3, 13)
    assert wasserstein(reference, current) == pytest.approx(2.0, **NEAR)
    assert scaled_wasserstein(reference, current) == pytest.approx(0.6963106238227914, **NEAR)


def test_evidently_on_numbers():
    edges = np.histogram_bin_edges(np.concatenate((REFERENCE, CURRENT)), "sturges")
    reference, current = (np.histogram(side, edges)[0] / 100 for side in (REFERENCE, CURRENT))
    assert distances.psi(current, reference, distances.FLOOR) == pytest.approx(0.2932674137586854, **NEAR)
    assert distances.js_distance(reference, current) == pytest.approx(0.18355145998130695, **NEAR)
    assert distances.kl(reference, current, distances.FLOOR) == pytest.approx(0.1466337068793427, **NEAR)
    edges = np.histogram_bin_edges(
        np.union1d(REFERENCE, CURRENT), "sturges"
    )  # here Evidently drops repeated values
    reference, current = (np.histogram(side, edges)[0] / 100 for side in (REFERENCE, CURRENT))
    assert distances.hellinger(reference, current) == pytest.approx(0.1741657386773936, **NEAR)
    assert scaled_wasserstein(REFERENCE, CURRENT) == pytest.approx(0.3464274833209975, **NEAR)


def closed(values, edges):
    """Shares between the edges, and one more for what lies outside, as NannyML takes them."""
    inside = np.histogram(values, edges)[0]
    return np.append(inside, len(values) - inside.sum()) / len(values)


def test_nannyml_on_numbers():
    edges = np.histogram_bin_edges(REFERENCE, "doane")
    reference, current = (closed(side, edges) for side in (REFERENCE, CURRENT))
    assert distances.js_distance(reference, current, 2) == pytest.approx(0.2725858015194268, **NEAR)
    assert distances.hellinger(reference, current) == pytest.approx(0.25990386687391936, **NEAR)
    assert linf_numeric(REFERENCE, CURRENT) == pytest.approx(0.1, **NEAR)
    assert wasserstein(REFERENCE, CURRENT) == pytest.approx(10.0, **NEAR)


@pytest.mark.parametrize(
    ("current", "psi", "js", "js2", "hellinger", "chi2", "linf"),
    [
        (
            {"a": 40, "b": 40, "c": 20},
            0.05108256237659909,
            0.07979472622921702,
            0.09584323377689244,
            0.07985138061590795,
            2.53968253968254,
            0.1,
        ),
        (
            {"a": 40, "b": 40, "d": 20},
            3.089923365701524,
            0.38078423607862855,
            0.4573684788666705,
            0.4542865208062711,
            42.53968253968254,
            0.2,
        ),
    ],
)
def test_peers_on_categories(current, psi, js, js2, hellinger, chi2, linf):
    before = {"a": 50, "b": 30, "c": 20}
    p, q = distances.aligned(before, current)
    assert distances.psi(q, p, distances.FLOOR) == pytest.approx(psi, **NEAR)
    assert distances.js_distance(p, q) == pytest.approx(js, **NEAR)
    assert distances.js_distance(p, q, 2) == pytest.approx(js2, **NEAR)
    assert distances.hellinger(p, q) == pytest.approx(hellinger, **NEAR)
    assert distances.homogeneity(before, current)[0] == pytest.approx(chi2, **NEAR)
    assert distances.linf_categorical(before, current) == pytest.approx(linf, **NEAR)


def test_evidently_divergence_on_categories():
    p, q = distances.aligned({"a": 50, "b": 30, "c": 20}, {"a": 40, "b": 40, "c": 20})
    assert distances.kl(p, q, distances.FLOOR) == pytest.approx(0.025267153921570557, **NEAR)


def test_bins_of_the_small_vector():
    values = distribution.of([0, 1, 1, 2, 3, 5, 8, 13, 21, 34])
    edges = np.arange(1, 10) * 3.4
    assert np.histogram(values.values, np.arange(11) * 3.4)[0].tolist() == [5, 1, 1, 1, 0, 0, 1, 0, 0, 1]
    assert bins.counts(values, edges).tolist() == [5, 1, 1, 1, 0, 0, 1, 0, 0, 1]


samples = st.lists(st.integers(-20, 20), min_size=2, max_size=40)


@given(samples, samples)
def test_numbers_agree_with_scipy(a, b):
    assert linf_numeric(a, b) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-12)
    assert wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)
    q = np.linspace(0, 1, 13)
    assert distribution.of(a).quantile(q) == pytest.approx(np.quantile(a, q), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=9))
def test_shares_agree_with_scipy(pairs):
    p, q = (np.array(side, dtype=float) + 0.5 for side in zip(*pairs, strict=True))
    p, q = distances.shares(p), distances.shares(q)
    assert distances.js_distance(p, q) == pytest.approx(jensenshannon(p, q), abs=1e-7)
    assert distances.kl(p, q) == pytest.approx(stats.entropy(p, q), abs=1e-12)
    names = [str(i) for i in range(len(pairs))]
    counts = [dict(zip(names, side, strict=True)) for side in zip(*pairs, strict=True)]
    if all(sum(one.values()) for one in counts):
        seen = [pair for pair in pairs if sum(pair)]
        if len(seen) > 1:
            expected = stats.chi2_contingency(np.array(seen).T, correction=False)
            assert distances.homogeneity(*counts) == pytest.approx(
                (expected.statistic, expected.pvalue), abs=1e-9
            )


def test_rare_categories_are_tested_together():
    many = {f"c{i}": 1 for i in range(40)}
    a, b = {"x": 500, **many}, {"x": 500}
    statistic, p = distances.homogeneity(a, b, least=5)
    assert statistic == pytest.approx(
        stats.chi2_contingency([[500, 40], [500, 0]], correction=False).statistic
    )
    assert p < 1e-6


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([math.nan], [1.0]), ([1.0], [])])
def test_nothing_is_not_a_distance(a, b):
    assert math.isnan(linf_numeric(a, b))
    assert math.isnan(wasserstein(a, b))


def test_empty_categories():
    assert math.isnan(distances.linf_categorical({}, {"a": 1}))
    assert math.isnan(distances.chi_squared({"a": 1}, {})[1])
    assert math.isnan(distances.homogeneity({}, {"a": 3, "b": 2})[1])


def test_heavy_ties_make_fewer_bins():
    edges = bins.inner_edges(distribution.of([0.0] * 90 + list(range(1, 11))))
    assert edges.tolist() == [0.0, 0.1] or len(edges) <= 2
    assert bins.inner_edges(distribution.of([5.0] * 10)).size == 0


@pytest.mark.parametrize(
    ("then", "now", "distance", "p_value"),
    [
        (np.arange(1, 11), np.arange(3, 13), 0.2, 0.9944575548290717),
        (REFERENCE, CURRENT, 0.1, 0.7020569828664881),
    ],
)
def test_exact_kolmogorov_smirnov(then, now, distance, p_value):
    assert linf_numeric(then, now) == pytest.approx(distance, **NEAR)
    assert comparison.kolmogorov_exact(distance, len(then), len(now)) == pytest.approx(p_value, **NEAR)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_exact_kolmogorov_smirnov_counts_all_orders(n, m, data):
    def distance(chosen):
        return linf_numeric(chosen, [one for one in range(n + m) if one not in chosen])

    orders = [distance(chosen) for chosen in itertools.combinations(range(n + m), n)]
    seen = data.draw(st.sampled_from(orders))
    share = np.mean(np.array(orders) >= seen - 1e-12)
    assert comparison.kolmogorov_exact(seen, n, m) == pytest.approx(share, **NEAR)


def test_homogeneity_of_two_categories_is_the_test_of_two_proportions():
    statistic, p_value = distances.homogeneity({"a": 50, "b": 50}, {"a": 40, "b": 60}, least=5)
    assert math.sqrt(statistic) == pytest.approx(1.4213381090374024, **NEAR)
    assert p_value == pytest.approx(0.1552184896846841, **NEAR)
