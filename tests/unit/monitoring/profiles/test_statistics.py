"""`statistics.json` is Model Monitor's, and what others wrote can be read."""

import json
import math

import numpy as np
import polars as pl
import pytest

from monitoring.profiles import Profile, ProfileUnreadable, merge, scan, statistics

TABLE = pl.DataFrame(
    {
        "x": [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, None],
        "s": ["red", "red", "blue", *[None] * 8],
        "n": pl.Series([None] * 11, dtype=pl.Float64),
    }
)


def test_every_key_in_its_place() -> None:
    found = statistics.document(scan.profile(TABLE))
    buckets = [
        {
            "lower_bound": pytest.approx(3.4 * n),
            "upper_bound": pytest.approx(3.4 * (n + 1)),
            "count": float(count),
        }
        for n, count in enumerate([5, 1, 1, 1, 0, 0, 1, 0, 0, 1])
    ]
    expected = {
        "version": 0.0,
        "dataset": {"item_count": 11},
        "features": [
            {
                "name": "x",
                "inferred_type": "Integral",
                "numerical_statistics": {
                    "common": {"num_present": 10, "num_missing": 1},
                    "mean": pytest.approx(8.8, rel=1e-12),
                    "sum": pytest.approx(88.0, rel=1e-12),
                    "std_dev": pytest.approx(10.467091286503619, rel=1e-12),
                    "min": 0.0,
                    "max": 34.0,
                    "distribution": {
                        "kll": {
                            "buckets": buckets,
                            "sketch": {
                                "parameters": {"c": 0.64, "k": 2048.0},
                                "data": [[0.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0]],
                            },
                        }
                    },
                },
            },
            {
                "name": "s",
                "inferred_type": "String",
                "string_statistics": {
                    "common": {"num_present": 3, "num_missing": 8},
                    "distinct_count": 2.0,
                    "distribution": {
                        "categorical": {
                            "buckets": [{"value": "red", "count": 2}, {"value": "blue", "count": 1}]
                        }
                    },
                },
            },
            {
                "name": "n",
                "inferred_type": "Unknown",
                "string_statistics": {
                    "common": {"num_present": 0, "num_missing": 11},
                    "distinct_count": 0.0,
                    "distribution": {"categorical": {"buckets": []}},
                },
            },
        ],
    }
    assert found == expected
    assert keys(found) == keys(expected)
    text = json.dumps(found)
    assert '"version": 0.0' in text
    assert '"k": 2048.0' in text
    assert '"count": 5.0' in text
    assert '"count": 2}' in text


def keys(value):
    """Keys in order, at every depth."""
    if isinstance(value, dict):
        return [(key, keys(inner)) for key, inner in value.items()]
    return [keys(inner) for inner in value] if isinstance(value, list) else None


def test_it_comes_back() -> None:
    rng = np.random.default_rng(4)
    table = pl.DataFrame(
        {"x": rng.normal(size=20_000), "c": rng.choice(["a", "b"], 20_000), "f": [True] * 20_000}
    )
    profile = scan.profile(table)
    read = statistics.read(json.loads(json.dumps(statistics.document(profile))))
    x, back = profile.columns["x"], read.columns["x"]
    assert read.rows == profile.rows
    assert x.numeric
    assert back.numeric
    assert back.numeric.quantiles.levels() == x.numeric.quantiles.levels()
    assert back.numeric.moments.std_dev == pytest.approx(x.numeric.moments.std_dev, rel=1e-12)
    assert read.columns["c"].categories == profile.columns["c"].categories
    assert {name: column.inferred_type for name, column in read.columns.items()} == {
        name: column.inferred_type for name, column in profile.columns.items()
    }
    assert (
        statistics.document(read) == statistics.document(profile)
        or back.numeric.moments.m2 != x.numeric.moments.m2
    )


def test_without_a_sketch_the_buckets_tell() -> None:
    document = statistics.document(scan.profile(pl.DataFrame({"x": np.arange(100_001.0)})))
    del document["features"][0]["numerical_statistics"]["distribution"]["kll"]["sketch"]
    found = statistics.read(document).columns["x"].numeric
    assert found
    assert found.quantiles.n == 100_001
    assert np.abs(found.quantiles.cdf([10_000, 55_555, 90_000]) - [0.1, 0.55555, 0.9]).max() < 0.001
    assert found.quantiles.error >= 0.1 / 1.1


def test_categories_that_are_not_all_listed_are_not_exact() -> None:
    many = pl.DataFrame({"s": [f"c{n}" for n in range(1_500)] + ["c0"]})
    read = statistics.read(statistics.document(scan.profile(many))).columns["s"]
    assert read.categories
    assert len(read.categories.counts) == statistics.SHOWN
    assert (read.categories.total, read.categories.missed, read.categories.others) == (1_501, 1, 500)
    assert not read.categories.exact


def test_a_file_of_the_notebooks_is_read() -> None:
    document = {
        "version": 0,
        "dataset": {"item_count": 418},
        "features": [
            {
                "name": "x",
                "inferred_type": "Fractional",
                "numerical_statistics": {
                    "common": {"num_present": 418, "num_missing": 0},
                    "mean": 0.5,
                    "sum": 209.0,
                    "std_dev": 0.1,
                    "min": 0.0,
                    "max": 1.0,
                    "distribution": {
                        "kll": {
                            "buckets": [{"lower_bound": 0.0, "upper_bound": 1.0, "count": 418.0}],
                            "sketch": {
                                "parameters": {"c": 0.64, "k": 2048.0},
                                "data": [[0.1, 0.2] * 9, [0.3] * 200],
                            },
                        }
                    },
                },
            },
            {"name": "u", "inferred_type": "Unknown"},
        ],
    }
    profile = statistics.read(document)
    numeric = profile.columns["x"].numeric
    assert numeric
    assert (numeric.quantiles.n, numeric.moments.n, numeric.quantiles.quantile(1)) == (418, 418, 1.0)
    assert profile.columns["u"].present == 0
    assert Profile.from_bytes(profile.to_bytes()) == profile
    assert merge(profile, profile).columns["x"].present == 836


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"features": [{}], "dataset": {"item_count": 1}},
        {"features": 3, "dataset": {}},
        {"features": [], "dataset": []},
    ],
)
def test_anything_else_is_refused(document) -> None:
    with pytest.raises(ProfileUnreadable, match="suggest a baseline again"):
        statistics.read(document)


def test_infinity_never_reaches_the_file() -> None:
    table = pl.DataFrame({"x": [1.5e308, 1.7e308, -1.6e308, math.inf], "i": [math.inf] * 4})
    json.dumps(statistics.document(scan.profile(table)), allow_nan=False)
