"""SageMaker's schedule expressions: `cron(minutes hours day-of-month month day-of-week year)`, in UTC."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict)
    special: str = "(?!)"
    """What is no list of numbers; nothing by default."""


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day-of-month", 1, 31, special=r"\?|L|LW|([1-9]|[12]\d|3[01])W"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 1, 7, _DAYS, r"\?|L|[1-7]L|[1-7]#[1-5]"),
    _Field("year", 1970, 2199),
)
_HELP = "write for example cron(0 * ? * * *) for every hour or cron(0 6 ? * MON-FRI *)"
_REACH = 366 * 9
"""Days to look for the next time: 29 February may be eight years away."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Moments at which something is due. Times are UTC, whole minutes."""

    text: str
    """As it was written."""
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int]
    days: frozenset[int] | str
    """Days of the month; text for what depends on the month: `?`, `L`, `LW`, `15W`."""
    weekdays: frozenset[int] | str
    """Days of the week, Sunday is 1; text for what depends on the month: `?`, `6L`, `3#2`."""

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression.

        Raises:
            ValueError: one sentence about the first part that is wrong.
        """
        whole = re.fullmatch(r"cron\((.*)\)", text.strip())
        parts = whole[1].split() if whole else []
        if len(parts) != 6:
            raise ValueError(
                f"{text!r} is no schedule of six fields (minutes hours day-of-month month day-of-week year); "
                f"{_HELP}"
            )
        if (parts[2] == "?") == (parts[4] == "?"):
            raise ValueError(f"{text!r} needs ? as either day-of-month or day-of-week, not both; {_HELP}")
        upper = [_numbered(part.upper(), field.names) for part, field in zip(parts, _FIELDS, strict=True)]
        numbers = {
            field.name: frozenset() if re.fullmatch(field.special, part) else _values(text, part, field)
            for part, field in zip(upper, _FIELDS, strict=True)
        }
        return cls(
            text.strip(),
            minutes=numbers["minutes"],
            hours=numbers["hours"],
            months=numbers["month"],
            years=numbers["year"],
            days=numbers["day-of-month"] or upper[2],
            weekdays=numbers["day-of-week"] or upper[4],
        )

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than a moment; None when there is none any more."""
        return next(self._times(moment.astimezone(UTC), forward=True), None)

    def latest(self, moment: datetime) -> datetime | None:
        """The last time not later than a moment; None when there was none."""
        return next(self._times(moment.astimezone(UTC), forward=False), None)

    def _times(self, moment: datetime, *, forward: bool) -> Iterator[datetime]:
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        step = timedelta(days=1 if forward else -1)
        for _ in range(_REACH):
            found = self._in_a_year(day, forward=forward)
            if found is None:
                return
            if self._on(found):
                for time in sorted(self._clock(found), reverse=not forward):
                    if (time > moment) if forward else (time <= moment):
                        yield time
            day = found + step

    def _in_a_year(self, day: datetime, *, forward: bool) -> datetime | None:
        """The day, or the next one of a year that is named."""
        if day.year in self.years:
            return day
        if forward:
            later = [year for year in self.years if year > day.year]
            return datetime(min(later), 1, 1, tzinfo=UTC) if later else None
        earlier = [year for year in self.years if year < day.year]
        return datetime(max(earlier), 12, 31, tzinfo=UTC) if earlier else None

    def _clock(self, day: datetime) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                yield day.replace(hour=hour, minute=minute)

    def _on(self, day: datetime) -> bool:
        if day.year not in self.years or day.month not in self.months:
            return False
        return self._in_month(day) and self._in_week(day)

    def _in_month(self, day: datetime) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        match self.days:
            case "?":
                return True
            case "L":
                return day.day == last
            case "LW":
                return day.day == _weekday_near(day, last, last)
            case str(text):
                wanted = int(text.removesuffix("W"))
                return wanted <= last and day.day == _weekday_near(day, wanted, last)
            case numbers:
                return day.day in numbers

    def _in_week(self, day: datetime) -> bool:
        number = (day.weekday() + 1) % 7 + 1
        last = calendar.monthrange(day.year, day.month)[1]
        match self.weekdays:
            case "?":
                return True
            case "L":
                return number == 7
            case str(text) if text.endswith("L"):
                return number == int(text[0]) and day.day > last - 7
            case str(text):
                return number == int(text[0]) and (day.day - 1) // 7 + 1 == int(text[2])
            case numbers:
                return number in numbers


def _weekday_near(day: datetime, wanted: int, last: int) -> int:
    """The working day nearest to a day of the month, in the same month."""
    weekday = day.replace(day=wanted).weekday()
    if weekday == 5:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 6:
        return wanted + 1 if wanted < last else wanted - 2
    return wanted


def _numbered(part: str, names: dict[str, int]) -> str:
    """Names as numbers."""
    return re.sub(r"[A-Z]{3}", lambda found: str(names.get(found[0], found[0])), part)


def _values(text: str, part: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for item in part.split(","):
        match = re.fullmatch(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?", item)
        if not match or (match[1] == "*" and match[2]) or match[3] in {"0", "00"}:
            raise ValueError(f"{text!r}: {field.name} {part!r} cannot be read; {_HELP}")
        begin = field.low if match[1] == "*" else int(match[1])
        open_end = match[1] == "*" or match[3]
        end = int(match[2]) if match[2] else field.high if open_end else begin
        if not field.low <= begin <= end <= field.high:
            raise ValueError(
                f"{text!r}: {field.name} {part!r} does not lie within {field.low} to {field.high}; {_HELP}"
            )
        found |= set(range(begin, end + 1, int(match[3] or 1)))
    return frozenset(found)
