"""constraints.json: Model Monitor's file in and out, overrides in every spelling and place, suggestions."""

import copy

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift import constraints
from monitoring.drift.constraints import Constraints, FeatureConstraints
from monitoring.drift.settings import ConstraintsError, Settings
from monitoring.profiles import scan

FILE = {
    "version": 0.0,
    "features": [
        {
            "name": "x",
            "inferred_type": "Integral",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
        },
        {
            "name": "s",
            "inferred_type": "String",
            "completeness": 0.98,
            "string_constraints": {"domains": ["a", "b"]},
            "monitoringConfigOverrides": {},
        },
    ],
    "monitoring_config": {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": 0.1,
            "comparison_method": "Robust",
            "categorical_comparison_threshold": 0.1,
            "categorical_drift_method": "LInfinity",
        },
    },
}
PLACES = [
    ("monitoringConfigOverrides",),
    ("monitoring_config_overrides",),
    ("string_constraints", "monitoring_config_overrides"),
    ("string_constraints", "monitoringConfigOverrides"),
    ("num_constraints", "monitoring_config_overrides"),
    ("num_constraints", "monitoringConfigOverrides"),
]
EVERYTHING = {
    "evaluate_constraints": "Disabled",
    "emit_metrics": "Disabled",
    "datatype_check_threshold": 0.9,
    "domain_content_threshold": 0.8,
    "distribution_constraints": {
        "perform_comparison": "Disabled",
        "comparison_threshold": 0.3,
        "comparison_method": "Simple",
        "categorical_comparison_threshold": 0.4,
        "categorical_drift_method": "ChiSquared",
    },
}


def test_the_documented_file_goes_through_unchanged():
    assert constraints.document(constraints.read(FILE)) == FILE


def test_defaults_are_those_of_the_documentation():
    read = constraints.read({"features": []})
    assert read.settings == Settings()
    assert constraints.document(read)["monitoring_config"] == FILE["monitoring_config"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("feature", [0, 1])
def test_every_threshold_can_be_overridden_at_every_place(place, feature):
    file = copy.deepcopy(FILE)
    file["features"][1].pop("monitoringConfigOverrides")
    holder = file["features"][feature]
    for key in place[:-1]:
        holder = holder.setdefault(key, {})
    holder[place[-1]] = EVERYTHING
    read = constraints.read(file)
    own = read.settings_of(file["features"][feature]["name"])
    assert (own.evaluate_constraints, own.emit_metrics, own.perform_comparison) == (False, False, False)
    assert (own.datatype_check_threshold, own.domain_content_threshold) == (0.9, 0.8)
    assert (own.comparison_threshold, own.comparison_method) == (0.3, "Simple")
    assert (own.categorical_threshold, own.categorical_drift_method) == (0.4, "ChiSquared")
    assert read.settings_of(file["features"][1 - feature]["name"]) == read.settings
    assert constraints.document(read) == file


def test_the_documented_spelling_wins():
    file = {
        "features": [
            {
                "name": "x",
                "inferred_type": "Integral",
                "num_constraints": {"monitoring_config_overrides": {"datatype_check_threshold": 0.1}},
                "monitoring_config_overrides": {"datatype_check_threshold": 0.2},
                "monitoringConfigOverrides": {"datatype_check_threshold": 0.3},
            }
        ]
    }
    assert constraints.read(file).settings_of("x").datatype_check_threshold == 0.3


def test_category_threshold_follows_the_other_one():
    file = {"features": [], "monitoring_config": {"distribution_constraints": {"comparison_threshold": 0.25}}}
    assert constraints.read(file).settings.categorical_threshold == 0.25


def test_unknown_keys_pass_through():
    file = copy.deepcopy(FILE)
    file["dataset"] = {"item_count": 4}
    file["monitoring_config"]["color"] = "blue"
    file["monitoring_config"]["distribution_constraints"]["depth"] = 3
    file["features"][0]["note"] = "n"
    file["features"][0]["num_constraints"]["max"] = 5
    file["features"][1]["string_constraints"]["pattern"] = "a+"
    assert constraints.document(constraints.read(file)) == file


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ([], "features"),
        ({"features": [{"inferred_type": "String"}]}, "features[0]"),
        ({"features": [{"name": "x", "inferred_type": "Number"}]}, "inferred_type"),
        ({"features": [{"name": "x", "completeness": 2}]}, "completeness"),
        ({"features": [{"name": "x"}, {"name": "x"}]}, "more than once"),
        ({"features": [{"name": "x", "num_constraints": 3}]}, "num_constraints"),
        ({"features": [{"name": "x", "string_constraints": {"domains": "a"}}]}, "domains"),
        ({"features": [], "monitoring_config": {"emit_metrics": "Yes"}}, "emit_metrics"),
        (
            {"features": [], "monitoring_config": {"datatype_check_threshold": "1"}},
            "datatype_check_threshold",
        ),
        (
            {
                "features": [],
                "monitoring_config": {"distribution_constraints": {"comparison_method": "Best"}},
            },
            "Robust",
        ),
        (
            {"features": [{"name": "x", "monitoringConfigOverrides": {"emit_metrics": 4}}]},
            "x.monitoringConfig",
        ),
    ],
)
def test_what_cannot_be_read_says_where(file, said):
    with pytest.raises(ConstraintsError) as error:
        constraints.read(file)
    assert said in str(error.value)


def test_suggestion():
    frame = pl.DataFrame(
        {
            "n": [0, 1, 2, 3] * 25,
            "f": [-0.5, 1.5, None, 2.5] * 25,
            "s": ["red", "blue", None, "red"] * 25,
            "id": [f"u{i}" for i in range(100)],
            "b": [True, False] * 50,
            "empty": pl.Series([None] * 100, dtype=pl.Float64),
        }
    )
    made = {one.name: one for one in constraints.suggest(scan.profile(frame)).features}
    assert made["n"] == FeatureConstraints("n", "Integral", 1.0, is_non_negative=True)
    assert made["f"] == FeatureConstraints("f", "Fractional", 0.75, is_non_negative=False)
    assert made["s"] == FeatureConstraints("s", "String", 0.75, domains=("blue", "red"))
    assert made["id"].domains is None
    assert made["b"].inferred_type == "Boolean"
    assert made["empty"] == FeatureConstraints("empty", "Unknown", 0.0)


shares = st.floats(0, 1)
methods = st.sampled_from(["Simple", "Robust", "Auto"])
features = st.builds(
    FeatureConstraints,
    name=st.text(min_size=1, max_size=5),
    inferred_type=st.sampled_from(["Integral", "Fractional", "String", "Boolean", "Unknown"]),
    completeness=st.none() | shares,
    is_non_negative=st.none() | st.booleans(),
    domains=st.none() | st.lists(st.text(max_size=3), max_size=3).map(tuple),
)
settings_ = st.builds(
    Settings,
    evaluate_constraints=st.booleans(),
    datatype_check_threshold=shares,
    comparison_threshold=shares,
    comparison_method=methods,
    categorical_comparison_threshold=shares,
)


@given(st.lists(features, max_size=4, unique_by=lambda one: one.name).map(tuple), settings_)
def test_round_trip(some, settings):
    made = Constraints(some, settings)
    assert constraints.read(constraints.document(made)) == made
