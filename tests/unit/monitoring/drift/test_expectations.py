import json

import pytest

from monitoring.drift import constraints, expectations
from monitoring.drift.constraints import Constraints, FeatureConstraints, Override
from monitoring.drift.settings import ConstraintsError

FEATURES = (
    FeatureConstraints("n", "Integral", 1.0, is_non_negative=True),
    FeatureConstraints("f", "Fractional", 0.9),
    FeatureConstraints(
        "s",
        "String",
        0.5,
        domains=("a", "b"),
        overrides=(Override(("monitoringConfigOverrides",), {"domain_content_threshold": 0.7}),),
    ),
    FeatureConstraints("b", "Boolean"),
    FeatureConstraints("u", "Unknown"),
)


def test_what_both_can_say_goes_both_ways():
    made = expectations.suite(Constraints(FEATURES), "ours")
    assert json.loads(json.dumps(made.document)) == made.document
    back = expectations.constraints(made.document)
    assert back.unsaid == ()
    assert back.constraints == Constraints(FEATURES)
    assert expectations.suite(back.constraints, "ours") == made


def test_the_suite():
    made = expectations.suite(Constraints(FEATURES[:1])).document
    assert [(one["type"], one["kwargs"].get("mostly")) for one in made["expectations"]] == [
        ("expect_table_columns_to_match_set", None),
        ("expect_column_values_to_be_in_type_list", 1.0),
        ("expect_column_values_to_not_be_null", 1.0),
        ("expect_column_values_to_be_between", None),
    ]


def test_what_a_suite_cannot_say_is_listed():
    file = {
        "features": [
            {
                "name": "x",
                "inferred_type": "Integral",
                "num_constraints": {"is_non_negative": False, "max": 3},
                "monitoringConfigOverrides": {"distribution_constraints": {"comparison_threshold": 0.3}},
            },
            {"name": "y", "monitoringConfigOverrides": {"evaluate_constraints": "Disabled"}},
        ]
    }
    unsaid = " | ".join(expectations.suite(constraints.read(file)).unsaid)
    for part in (
        "monitoring_config: distribution_constraints",
        "monitoring_config: emit_metrics",
        "x: distribution_constraints",
        "x: is_non_negative",
        "x: max",
        "y: its constraints are disabled",
    ):
        assert part in unsaid


def test_what_constraints_cannot_say_is_listed():
    suite = {
        "expectations": [
            {
                "expectation_type": "expect_column_values_to_not_be_null",
                "kwargs": {"column": "x", "mostly": 0.9},
            },
            {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "x", "regex": "a"}},
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "x", "min_value": 0, "max_value": 0},
            },
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "z", "min_value": 3}},
            {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}},
            {
                "type": "expect_table_columns_to_match_set",
                "kwargs": {"column_set": ["x"], "exact_match": False},
            },
        ]
    }
    made = expectations.constraints(suite)
    assert made.constraints.features == (FeatureConstraints("x", "Unknown", 0.9),)
    assert made.unsaid == (
        "x: expect_column_values_to_match_regex",
        "x: expect_column_values_to_be_between",
        "z: expect_column_values_to_be_between",
        "expect_table_row_count_to_be_between",
        "expect_table_columns_to_match_set",
    )


@pytest.mark.parametrize("bad", [{}, {"expectations": "all"}, {"expectations": [3]}, {"expectations": [{}]}])
def test_what_is_no_suite(bad):
    with pytest.raises(ConstraintsError):
        expectations.constraints(bad)
