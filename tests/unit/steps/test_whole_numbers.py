"""Columns of whole numbers from the training table to live requests in every spelling: no false alarm."""

from datetime import UTC, datetime

import polars as pl
import pytest

from monitoring.drift import constraints
from monitoring.drift.analysis import analyse
from monitoring.profiles import scan
from monitoring.records import Layout, decode
from monitoring.records.columns import whole_columns
from serving.capture.record import Exchange, line
from serving.capture.settings import parse
from steps.baseline_folder import Ground
from steps.hour import measured
from steps.hours import kinds_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
LAYOUT = Layout((("seats", "double"), ("hours", "double")), "binary", (0, 1))
ANSWER = b'{"predictions":[{"predicted_label":1,"score":0.75}]}'
JSON, CSV = "application/json", "text/csv"


class Manifest:
    """The inputs of a model, as every manifest names them."""

    inputs = tuple(type("Input", (), {"name": name, "type": "double"}) for name in ("seats", "hours"))


SEEN = pl.DataFrame({"seats": list(range(100, 200)), "hours": [n / 4 for n in range(100)]})
GROUND = Ground(Manifest(), SEEN, SEEN, "y", None)
BASELINE = scan.profile(GROUND.inputs(SEEN), kinds_of(LAYOUT))
SUGGESTED = constraints.suggest(BASELINE)


def window(kind, *bodies):
    settings = parse('{"destination": "/captures"}')
    lines = [
        line(Exchange(f"e{number}", AT, kind, body, JSON, ANSWER), settings)[:-1]
        for number, body in enumerate(bodies)
    ]
    return scan.profile(measured(decode(lines, LAYOUT, "v1").frame), kinds_of(LAYOUT))


def wrong_types(profile):
    found = analyse(BASELINE, SUGGESTED, profile)
    return [dict(one.subject)["feature_name"] for one in found.violations if one.check == "data_type_check"]


def test_the_baseline_tells_whole_numbers_from_others():
    assert [(one.name, one.inferred_type) for one in SUGGESTED.features] == [
        ("seats", "Integral"),
        ("hours", "Fractional"),
    ]


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        (CSV, [b"120,3\n"] * 30),
        (CSV, [b"120.0,3.0\n"] * 30),
        (CSV, [b"120.0,3\n", b"121,3.5\n"] * 20),
        (JSON, [b'{"instances":[[120.0,3.0]]}'] * 30),
        (JSON, [b'{"instances":[[120,3]]}', b'{"instances":[[121.0,2.5]]}'] * 20),
    ],
)
def test_no_spelling_of_a_whole_number_is_a_wrong_type(kind, bodies):
    profile = window(kind, *bodies)
    assert profile.rows == len(bodies)
    assert wrong_types(profile) == []


def test_a_fraction_among_whole_numbers_is():
    assert wrong_types(window(CSV, *[b"120.5,3\n"] * 20, *[b"120.0,3\n"] * 20)) == ["seats"]


def test_groups_of_whole_numbers_are_those_of_live_rows():
    rows = whole_columns(GROUND.inputs(SEEN))
    assert rows.schema == {"seats": pl.Int64(), "hours": pl.Float64()}
    assert whole_columns(pl.DataFrame({"a": [1.0, None]}))["a"].to_list() == [1, None]
