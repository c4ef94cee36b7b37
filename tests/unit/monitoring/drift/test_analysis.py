"""Checks, observations and the whole finding, from real profiles."""

import functools
import json
import math

import numpy as np
import polars as pl
import pytest

from monitoring.drift import checks, choice, comparison, constraints, observations, sequence
from monitoring.drift.analysis import analyse
from monitoring.drift.constraints import Constraints, FeatureConstraints
from monitoring.drift.settings import Settings
from monitoring.profiles import ColumnProfile, Numeric, Profile, TypeCounts, scan, statistics

RNG = np.random.default_rng(11)


def table(n=4000, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(shift, 1, n),
            "k": rng.poisson(8, n),
            "s": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "few": rng.choice([0, 1], n, p=[0.8, 0.2]),
        }
    )


BASELINE = scan.profile(table())
SUGGESTED = constraints.suggest(BASELINE)


def found(finding, check=None):
    return [
        (dict(one.subject)["feature_name"], one.check)
        for one in finding.violations
        if check in {None, one.check}
    ]


def test_the_baseline_meets_its_own_constraints():
    finding = analyse(BASELINE, SUGGESTED, BASELINE)
    assert finding.violations == ()
    assert finding.notes == ()
    assert finding.status == "Completed"
    assert finding.rows == 4000
    for drift in finding.details.features:
        assert (drift.raw, drift.distance, drift.p_value, drift.q_value) == (0, 0, 1, 1)
    json.dumps(finding.documents)


def test_small_samples_get_the_exact_p_value():
    then = scan.profile(pl.DataFrame({"x": np.arange(100.0)}))
    for rows, p_value in ((40, comparison.kolmogorov_exact), (4000, comparison.kolmogorov)):
        now = scan.profile(pl.DataFrame({"x": np.linspace(10, 120, rows)}))
        drift = comparison.compare(then.columns["x"], now.columns["x"], Settings())
        off = drift.others["sketch_error"]
        assert drift.p_value == pytest.approx(p_value(drift.raw - off, 100, rows), rel=1e-9)
    assert comparison.kolmogorov_exact(0.3, 100, 40) < comparison.kolmogorov(0.3, 100, 40)


def test_a_shift_is_found_with_its_figures():
    window = scan.profile(table(3000, shift=1, seed=1))
    finding = analyse(BASELINE, SUGGESTED, window)
    assert found(finding) == [("x", "baseline_drift_check")]
    x = finding.details.features[0]
    correction = 1.8 * math.sqrt(7000 / (3000 * 4000))
    assert x.method == "linf_robust"
    assert (x.n, x.reference_n, x.threshold) == (3000, 4000, 0.1)
    assert x.correction == pytest.approx(correction)
    assert x.distance == pytest.approx(x.raw - correction)
    assert (
        finding.violations[0].description == f"Baseline drift distance: {x.distance} exceeds threshold: 0.1"
    )
    assert finding.details.discoveries == ("x",)
    shown = {(one.name, one.dimensions): one for one in finding.figures}
    assert shown["feature_baseline_drift_x", ()].value == x.distance
    assert shown["feature_baseline_drift_x", (("Distance", "raw"),)].value == x.raw
    assert shown["feature_baseline_drift_x", (("Distance", "correction"),)].value == x.correction
    assert shown["feature_non_null_x", ()].value == 1.0
    moments = window.columns["x"].numeric.moments
    data = shown["feature_data_x", ()]
    assert (data.value, data.low, data.high, data.n) == (moments.mean, moments.minimum, moments.maximum, 3000)
    assert ("feature_data_s", ()) not in shown


def test_distances_of_profiles_are_those_of_values():
    from monitoring.drift import distances, distribution

    then, now = table(), table(3000, 0.5, 2)
    values = [distribution.of(one["x"]) for one in (then, now)]
    window = scan.profile(now)
    x = comparison.compare(BASELINE.columns["x"], window.columns["x"], Settings())
    assert x.raw == pytest.approx(distribution.linf(*values), abs=1e-12)
    assert x.others["wasserstein"] == pytest.approx(distribution.wasserstein(*values), abs=1e-9)
    assert x.others["wasserstein_normalised"] == pytest.approx(
        distribution.wasserstein(*values) / then["x"].std(ddof=0), abs=1e-9
    )
    s = comparison.compare(BASELINE.columns["s"], window.columns["s"], Settings())
    counts = [dict(one["s"].value_counts().iter_rows()) for one in (then, now)]
    assert s.raw == pytest.approx(distances.linf_categorical(*counts), abs=1e-12)
    assert s.p_value == pytest.approx(distances.homogeneity(*counts)[1])
    assert s.others["chi_squared_p"] == pytest.approx(distances.chi_squared(counts[1], counts[0])[1])


@pytest.mark.parametrize("n", [50, 500, 5000])
@pytest.mark.parametrize("shift", [0.1, 0.3])
def test_p_values_are_never_smaller_than_scipys(n, shift):
    from scipy.stats import ks_2samp

    then, now = table()["x"], table(n, shift, seed=3)["x"]
    drift = comparison.compare(BASELINE.columns["x"], scan.profile(now.to_frame()).columns["x"], Settings())
    true = ks_2samp(then, now, method="asymp").pvalue
    assert drift.p_value >= true * 0.999
    assert drift.p_value <= max(2.2 * true, 1e-300)


def test_large_windows_stay_honest():
    one, other = (RNG.normal(size=200_000) for _ in range(2))
    profiles = [scan.profile(pl.DataFrame({"x": values})).columns["x"] for values in (one, other)]
    drift = comparison.compare(*profiles, Settings())
    assert drift.others["sketch_error"] > 0
    assert drift.p_value > 0.01
    assert not drift.drifted


@pytest.mark.parametrize(
    ("method", "name", "threshold"),
    [("Simple", "linf_simple", 0.1), ("PSI", "PSI", 0.1), ("KolmogorovSmirnov", "KolmogorovSmirnov", 0.9)],
)
def test_a_method_decides(method, name, threshold):
    window = scan.profile(table(3000, 0.6, 4)).columns["x"]
    drift = comparison.compare(BASELINE.columns["x"], window, Settings(comparison_method=method))
    assert (drift.method, drift.threshold, drift.drifted) == (name, threshold, True)


def test_goodness_of_fit_decides_by_its_p_value():
    settings = Settings(categorical_drift_method="ChiSquared", categorical_comparison_threshold=0.05)
    other = pl.DataFrame({"s": ["a"] * 40 + ["b"] * 30 + ["c"] * 30})
    drift = comparison.compare(BASELINE.columns["s"], scan.profile(other).columns["s"], settings)
    assert drift.method == "ChiSquared"
    assert drift.distance == pytest.approx(1 - drift.others["chi_squared_p"])
    assert drift.drifted == (drift.others["chi_squared_p"] < 0.05)


def test_a_test_that_cannot_speak_leaves_the_word_to_the_distance():
    settings = Settings(categorical_drift_method="ChiSquared", comparison_method="Simple")
    constant = scan.profile(pl.DataFrame({"s": ["a"] * 50})).columns["s"]
    other = scan.profile(pl.DataFrame({"s": ["b"] * 50})).columns["s"]
    drift = comparison.compare(constant, other, settings)
    assert (drift.method, drift.distance, drift.drifted) == ("linf_simple", 1.0, True)


@pytest.mark.parametrize(
    ("categorical", "rows", "method"),
    [
        (False, 999, "KolmogorovSmirnov"),
        (False, 1000, "Wasserstein"),
        (True, 999, "Homogeneity"),
        (True, 1000, "JensenShannon"),
    ],
)
def test_the_table_of_choices(categorical, rows, method):
    made = choice.choose(categorical=categorical, rows=rows, method="Auto", threshold=0.1)
    assert made == choice.Choice(method, 0.05 if made.tests else 0.1)


def test_few_distinct_numbers_are_compared_as_categories():
    window = scan.profile(table(500, seed=5)).columns["few"]
    drift = comparison.compare(BASELINE.columns["few"], window, Settings(comparison_method="Auto"))
    assert drift.method == "Homogeneity"
    assert drift.p_value == drift.others["homogeneity_p"]


def test_one_number_has_many_spellings():
    columns = [
        scan.profile(pl.DataFrame({"x": list(two) * 200})).columns["x"] for two in (("0", "1"), ("0.0", "+1"))
    ]
    drift = comparison.compare(*columns, Settings(comparison_method="Auto"))
    assert (drift.raw, drift.p_value) == (0, 1)


def test_merged_sketches_keep_p_values_valid():
    from monitoring.profiles import merge

    one = merge(*(scan.profile(pl.DataFrame({"x": RNG.normal(size=4000)})) for _ in range(24)))
    drift = comparison.compare(BASELINE.columns["x"], one.columns["x"], Settings())
    assert 0 < drift.others["sketch_error"] < 0.005
    assert drift.p_value > 0.01


def test_texts_of_model_monitor():
    said = Constraints(
        (
            FeatureConstraints("i", "Integral", 1.0, is_non_negative=True),
            FeatureConstraints("f", "Fractional", 1.0),
            FeatureConstraints("s", "String", domains=("a",)),
            FeatureConstraints("gone", "String"),
        )
    )
    window = scan.profile(
        pl.DataFrame(
            {"i": ["1", "-2", "x", None], "f": ["1", "2.5", "3", "4"], "s": list("aaab"), "new": [1] * 4}
        )
    )
    assert [(v.check, v.description) for v in checks.violations(said, window)] == [
        (
            "missing_column_check",
            (
                "There are missing columns in current dataset. Number of columns in current dataset: 4, "
                "Number of columns in baseline constraints: 4"
            ),
        ),
        (
            "extra_column_check",
            (
                "There are extra columns in current dataset. Number of columns in current dataset: 4, "
                "Number of columns in baseline constraints: 4"
            ),
        ),
        (
            "data_type_check",
            (
                "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. "
                f"Observed: Only {100 * (2 / 3)}% of data is Integral."
            ),
        ),
        ("completeness_check", "Value: 0.75 does not meet the constraint requirement! "),
        ("is_non_negative_check", "Value: -2.0 does not meet the constraint requirement! "),
        ("categorical_values_check", "Value: 0.75 does not meet the constraint requirement! "),
    ]
    strict = [
        v.check
        for v in checks.violations(said, window, strict=True)
        if dict(v.subject)["feature_name"] == "f"
    ]
    assert strict == ["data_type_check"]


def test_disabled_features_are_quiet():
    file = constraints.document(SUGGESTED)
    for feature in file["features"]:
        feature["monitoringConfigOverrides"] = {
            "evaluate_constraints": "Disabled",
            "emit_metrics": "Disabled",
            "distribution_constraints": {"perform_comparison": "Disabled"},
        }
    finding = analyse(BASELINE, constraints.read(file), scan.profile(table(1000, 3, 6).drop("k")))
    assert (finding.violations, finding.figures, finding.details.features) == ((), (), ())


def test_what_else_stands_out():
    n = 1000
    frame = table(n, seed=7)
    window = scan.profile(
        pl.DataFrame(
            {
                "s": ["a"] * (n - 10) + ["new"] * 7 + ["newer"] * 3,
                "few": [1] * n,
                "renamed": frame["k"],
                "x": frame["x"] * 2.54,
            }
        )
    )
    baseline = scan.profile(table().with_columns(x=pl.col("x") + 20))
    window = Profile(
        n, {**window.columns, "x": scan.profile(((frame["x"] + 20) * 2.54).to_frame()).columns["x"]}
    )
    finding = analyse(baseline, constraints.suggest(baseline), window)
    assert [one.kind for one in finding.details.observations] == ["reordered", "renamed", "unit", "constant"]
    assert "k may have been renamed to renamed" in " ".join(finding.notes)
    assert "inches" in " ".join(finding.notes)
    assert "few has become constant: always 1" in finding.notes
    new = finding.details.new_categories[0]
    assert (new.name, new.values, new.distinct, new.share) == ("s", (("new", 7), ("newer", 3)), 2, 0.01)
    assert finding.details.new_columns == ("renamed",)
    assert finding.details.missing_columns == ("k",)
    assert any(one.name == "x" for one in finding.details.outliers)


def test_small_windows_are_told_to_be_silent():
    finding = analyse(BASELINE, SUGGESTED, scan.profile(table(60, 0.0, 8)))
    assert any("chance explains more" in note for note in finding.notes)


BAD = {
    "null": pl.Series([None] * 200, dtype=pl.Float64),
    "nan": pl.Series([math.nan] * 200),
    "infinite": pl.Series([math.inf, -math.inf] * 100),
    "half infinite": pl.Series([math.inf, 1.0] * 100),
    "constant": pl.Series([7] * 200),
    "huge": pl.Series([1e308, -1e308] * 100),
    "tiny": pl.Series([5e-324, 0.0] * 100),
    "mixed": pl.Series(["1", "x"] * 100),
    "texts": pl.Series(["a", "b"] * 100),
    "empty texts": pl.Series([""] * 200),
    "nested": pl.Series([[1, 2], [3]] * 100),
    "struct": pl.Series([{"a": 1}, {"a": None}] * 100),
    "ids": pl.Series([f"u{i}" for i in range(200)]),
    "truth": pl.Series([True, None] * 100),
}


@functools.cache
def bad(name, offset):
    return scan.profile(pl.DataFrame({"good": np.arange(200) + offset, "c": BAD[name]}))


@pytest.mark.parametrize("now", BAD)
def test_one_bad_column_is_a_note(now):
    for then in BAD:
        baseline, window = bad(then, 0), bad(now, 190)
        for settings in (
            Settings(),
            Settings(comparison_method="Auto", categorical_drift_method="ChiSquared"),
        ):
            finding = analyse(baseline, constraints.suggest(baseline, settings), window)
            assert ("good", "baseline_drift_check") in found(finding)
            assert "c" in {one.name for one in finding.details.features} | set(finding.details.incomparable)
            assert all(math.isfinite(one.value) for one in finding.figures)
        watch = sequence.look(sequence.begin(baseline), sequence.Watch(), window)
        assert math.isfinite(watch.log_evidence)
        assert "good" in watch.drifting


def test_nothing_to_judge():
    finding = analyse(BASELINE, SUGGESTED, Profile())
    assert finding.violations == ()
    assert "no rows" in finding.notes[0]
    assert analyse(Profile(), SUGGESTED, BASELINE).details.incomparable.keys() == BASELINE.columns.keys()
    assert analyse(Profile(), Constraints(()), BASELINE).violations[0].check == "extra_column_check"


def test_a_baseline_from_model_monitors_own_file():
    again = statistics.read(statistics.document(BASELINE))
    finding = analyse(again, SUGGESTED, scan.profile(table(3000, 1, 1)))
    assert found(finding) == [("x", "baseline_drift_check")]


def test_many_categories_beyond_the_cap():
    many = pl.DataFrame({"s": [f"u{i}" for i in range(12_000)] + ["often"] * 8000})
    profile = scan.profile(many)
    assert not profile.columns["s"].categories.exact
    finding = analyse(profile, constraints.suggest(profile), profile)
    assert finding.violations == ()
    assert finding.details.features[0].raw == 0


def test_outputs_among_the_columns_are_not_extra():
    window = Profile(BASELINE.rows, {**BASELINE.columns, "@score": BASELINE.columns["x"]})
    assert checks.new_columns(SUGGESTED, window) == ()


def test_an_empty_numeric_column_is_incomparable():
    with pytest.raises(comparison.Incomparable, match="no finite numbers"):
        column = ColumnProfile("x", 3, 0, TypeCounts(fractional=3))
        comparison.compare(BASELINE.columns["x"], column, Settings())
    assert observations.observe(BASELINE, SUGGESTED, Profile()) == ()
    assert Numeric.__name__ == "Numeric"
