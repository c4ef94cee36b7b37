"""How shares are judged, from a project's settings."""

import polars as pl
import pytest

from configs.monitor import Monitor
from flows.monitoring import overlay
from flows.monitoring.overlay import rule as rule_of
from monitoring.drift import constraints
from monitoring.drift.analysis import analyse
from monitoring.profiles import scan

MONITOR = """{
  "data_quality": {
    "alpha": "4%",
    "features": {"age": {"completeness": 0.99, "comparison_threshold": 0.2}, "sex": {"domains": ["F"]}}
  }
}"""


@pytest.mark.parametrize("times", [0, 2])
def test_only_what_a_person_set_is_held_against_as_it_is(times):
    """Also after the settings were kept, defaults and all."""
    text = MONITOR
    for _ in range(times):
        text = Monitor.model_validate_json(text).model_dump_json()
    rule = rule_of(Monitor.model_validate_json(text).data_quality, {})
    assert (rule.mode, rule.alpha, rule.strict) == ("evidence", 0.02, False)
    assert rule.given["age"] & {"completeness", "domains", "is_non_negative"} == {"completeness"}
    assert rule.given["sex"] & {"completeness", "domains", "domain_content_threshold"} == {"domains"}


def test_sagemakers_bare_comparison_can_be_chosen():
    settings = Monitor.model_validate_json('{"data_quality": {"mode": "sagemaker"}}').data_quality
    assert rule_of(settings, {}).mode == "sagemaker"


def test_types_are_as_strict_as_the_project_asks():
    """Whole numbers in a column that was all fractions: fractions as well, unless types are strict."""
    fractions = pl.DataFrame({"x": [number + 0.5 for number in range(1000)]})
    baseline, window = (scan.profile(one) for one in (fractions, fractions.with_columns(pl.col("x") - 0.5)))

    def checks(section):
        settings = Monitor.model_validate_json(f'{{"data_quality": {section}}}').data_quality
        laid = overlay.data_quality(constraints.document(constraints.suggest(baseline)), settings)
        found = analyse(baseline, constraints.read(laid), window, rule=rule_of(settings, {}))
        return {one.check for one in found.violations}

    assert "data_type_check" not in checks("{}")
    assert "data_type_check" in checks('{"strict_types": true}')
    assert "data_type_check" in checks('{"strict_types": true, "mode": "sagemaker"}')
    assert "data_type_check" not in checks('{"strict_types": true, "datatype_check_threshold": 0}')


def test_strict_types_are_judged_by_the_baseline_too():
    """A column that always had some whole numbers is as it was; only `sagemaker` wants each of its type."""
    baseline = scan.profile(pl.DataFrame({"x": [number / 8 for number in range(1000)]}))

    def violated(mode):
        text = f'{{"data_quality": {{"strict_types": true, "mode": "{mode}"}}}}'
        rule = rule_of(Monitor.model_validate_json(text).data_quality, {})
        found = analyse(baseline, constraints.suggest(baseline), baseline, rule=rule)
        return {one.check for one in found.violations}

    assert violated("evidence") == set()
    assert violated("sagemaker") == {"data_type_check"}


def test_the_alarm_over_time_is_on_and_can_be_switched_off():
    assert Monitor().data_quality.over_time.alpha == 0.05
    off = Monitor.model_validate_json('{"data_quality": {"over_time": null, "row_outliers": false}}')
    assert off.data_quality.over_time is None
    for wrong in ('{"alpha": 0}', '{"alpha": "100%"}', '{"rows_per_source": 0.5}', '{"tolerance": 0.5}'):
        with pytest.raises(ValueError, match="data_quality"):
            Monitor.model_validate_json(f'{{"data_quality": {{"over_time": {wrong}}}}}')
