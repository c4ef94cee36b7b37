"""How shares are judged, from a project's settings."""

import pytest

from configs.monitor import Monitor
from flows.monitoring.overlay import rule as rule_of

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


def test_the_alarm_over_time_is_on_and_can_be_switched_off():
    assert Monitor().data_quality.over_time.alpha == 0.05
    off = Monitor.model_validate_json('{"data_quality": {"over_time": null, "row_outliers": false}}')
    assert off.data_quality.over_time is None
    for wrong in ('{"alpha": 0}', '{"alpha": "100%"}', '{"rows_per_source": 0.5}', '{"tolerance": 0.5}'):
        with pytest.raises(ValueError, match="data_quality"):
            Monitor.model_validate_json(f'{{"data_quality": {{"over_time": {wrong}}}}}')
