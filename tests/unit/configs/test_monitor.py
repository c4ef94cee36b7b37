"""The section `monitor:` of the project file."""

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.monitor import CategoricalMethod, Every, Method, Monitor, following, latest
from monitoring.drift import settings

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)


def read(**section):
    return Monitor.model_validate_json(json.dumps(section))


def test_an_empty_section_watches_data_quality_every_hour():
    found = read()
    assert found.kinds == ("DataQuality",)
    assert latest(found.when("DataQuality"), NOW) == NOW.replace(minute=0, second=0)
    assert found.offsets("DataQuality") == (None, timedelta())


def test_sagemaker_s_offsets_and_ours_mean_the_same():
    ours = read(start_time_offset="8d", end_time_offset="1d", model_quality={"start_time_offset": "30h"})
    theirs = read(
        start_time_offset="-P8D", end_time_offset="P1D", model_quality={"start_time_offset": "-P1DT6H"}
    )
    assert ours.start_time_offset == theirs.start_time_offset == timedelta(days=8)
    assert theirs.end_time_offset == timedelta(days=1)


def test_a_kind_has_its_own_times():
    found = read(
        schedule="hourly",
        bias={
            "schedule": "daily",
            "start_time_offset": "2d",
            "end_time_offset": "1d",
            "label_values_or_threshold": [1],
            "facets": [{"name": "sex", "values": ["F"]}],
        },
    )
    assert found.when("DataQuality") == "hourly"
    assert found.when("ModelBias") == "daily"
    assert found.offsets("ModelBias") == (timedelta(days=2), timedelta(days=1))


@pytest.mark.parametrize("every", ["1m", "15m", "1h", "1d"])
def test_periods_count_from_midnight(every):
    found = read(schedule={"every": every})
    schedule = found.when("DataQuality")
    assert latest(schedule, NOW) <= NOW < following(schedule, NOW)
    assert following(schedule, NOW) - latest(schedule, NOW) == schedule.every
    midnight = NOW.replace(hour=0, minute=0, second=0)
    assert latest(schedule, midnight) == midnight


@pytest.mark.parametrize(
    ("section", "about"),
    [
        ({"schedule": "often"}, "'often' is no schedule"),
        ({"schedule": "cron(0 * * * * *)"}, r"needs \?"),
        ({"schedule": {"every": "30s"}}, "greater than or equal to"),
        ({"start_time_offset": "soon"}, "'soon' is no offset"),
        ({"start_time_offset": "1h", "end_time_offset": "2h"}, "must be longer than end_time_offset"),
        ({"data_quality": None}, "every kind of monitor is switched off"),
        ({"alarms": [{"name": "a", "monitor": "ModelBias"}]}, "switched off"),
        ({"alarms": [{"name": "a", "monitor": "DataQuality"}] * 2}, "alarms named twice: a"),
        (
            {"alarms": [{"name": "a", "monitor": "DataQuality", "datapoints_to_alert": 2}]},
            "datapoints_to_alert must not exceed",
        ),
        ({"alarms": [{"name": "a", "monitor": "DataQuality", "max": 1.0}]}, "need figure"),
        ({"data_quality": {"comparison_method": "Best"}}, "Simple"),
        ({"speed": 3}, "Extra inputs"),
    ],
)
def test_one_error_that_says_what_to_do(section, about):
    with pytest.raises(ValidationError, match=about) as told:
        read(**section)
    assert told.value.error_count() == 1


def test_methods_are_those_of_the_analysis():
    assert get_args(Method) == get_args(settings.Method)
    assert get_args(CategoricalMethod) == get_args(settings.CategoricalMethod)


@given(
    st.sampled_from(["hourly", "daily", "cron(0 0/6 ? * * *)"])
    | st.integers(1, 43200).map(lambda minutes: {"every": f"{minutes}m"}),
    st.integers(1, 100),
    st.integers(1, 100),
)
def test_what_is_written_reads_back(schedule, one, other):
    alarm = {
        "name": "a",
        "monitor": "DataQuality",
        "datapoints_to_alert": min(one, other),
        "evaluation_period": max(one, other),
        "actions": ["rollback"],
    }
    found = read(schedule=schedule, alarms=[alarm], explainability={"threshold": "80%"})
    assert Monitor.model_validate_json(found.model_dump_json()) == found
    assert isinstance(found.schedule, Every) == isinstance(schedule, dict)
