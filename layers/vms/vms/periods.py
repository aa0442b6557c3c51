"""Days and weeks of a time zone, and the moments at which they begin.

The zones are Python's, from the package tzdata; PostgreSQL only ever gets moments, so that the two cannot disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

type Unit = Literal["day", "week"]

FIRST, LAST = date(2000, 1, 1), date(2999, 12, 31)
_DAYS: dict[Unit, int] = {"day": 1, "week": 7}


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment up to another, in UTC; None for no bound."""

    since: datetime | None
    until: datetime | None

    @property
    def parameters(self) -> dict[str, object]:
        """What a statement compares with."""
        return {"since": self.since or "-infinity", "until": self.until or "infinity"}


@dataclass(frozen=True, slots=True)
class Day:
    """A day, or the week from that day on, with the moments at which it begins and ends."""

    date: date
    since: datetime
    until: datetime


def zone(name: str) -> ZoneInfo:
    """The time zone of this name of the IANA database, in its case. Raises `ValueError`."""
    if name not in names():
        raise ValueError("must be a time zone's name, such as Asia/Seoul")
    return ZoneInfo(name)


@cache
def names() -> frozenset[str]:
    """Those of the package. A machine's own directory may have more: `localtime`, zones that count leap seconds."""
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - {"Factory"}


def begin(day: date, where: ZoneInfo) -> datetime:
    """When this day begins, in UTC: its first midnight, or where a clock is put forward over that, that moment."""
    return datetime(day.year, day.month, day.day, tzinfo=where).astimezone(UTC)


def period(first: date | None, last: date | None, where: ZoneInfo) -> Period:
    """From the first day to the last one, both included."""
    return Period(
        None if first is None else begin(first, where),
        None if last is None else begin(last + timedelta(1), where),
    )


def days(first: date, last: date, where: ZoneInfo, unit: Unit) -> Iterator[Day]:
    """Each day from the last one back to the first; or each week, whole and from Monday on, that has one of them."""
    length = timedelta(_DAYS[unit])
    day = last - timedelta(last.weekday()) if unit == "week" else last
    while day + length > first:
        yield Day(day, begin(day, where), begin(day + length, where))
        day -= length
