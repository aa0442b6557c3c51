"""Days of a time zone begin where the zone's own clock says."""

from datetime import UTC, date, datetime, timedelta

import pytest

from vms import periods


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("UTC", date(2026, 3, 1), "2026-03-01T00:00"),
        ("Asia/Seoul", date(2026, 3, 1), "2026-02-28T15:00"),
        ("Asia/Kathmandu", date(2026, 3, 1), "2026-02-28T18:15"),
        ("Europe/Berlin", date(2026, 10, 26), "2026-10-25T23:00"),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00"),  # no midnight: the clock is put forward over it
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00"),  # midnight twice: the first
    ],
)
def test_a_day_begins_at_its_first_moment(zone: str, day: date, begins: str) -> None:
    assert periods.begin(day, periods.zone(zone)) == datetime.fromisoformat(begins).replace(tzinfo=UTC)


def test_every_day_of_every_zone_begins_at_a_quarter_of_an_hour() -> None:
    for name in periods.names():
        where = periods.zone(name)
        for day in (date(2026, 1, 1), date(2026, 7, 1)):
            assert periods.begin(day, where).minute % 15 == 0, name
            assert periods.begin(day, where).second == 0, name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "Seoul", "asia/seoul", "UTC+9", "../etc/passwd", "/etc/passwd", "Asia", "a" * 5000, "\0"),
        # Files of some machines: the machine's own zone, and zones that count leap seconds.
        *("localtime", "posixrules", "right/UTC", "posix/Asia/Seoul", "Factory"),
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone's name"):
        periods.zone(name)


def test_weeks_are_whole_and_begin_on_monday() -> None:
    weeks = list(periods.days(date(2026, 11, 1), date(2026, 11, 16), periods.zone("UTC"), "week"))
    assert [week.date for week in weeks] == [
        date(2026, 11, 16),
        date(2026, 11, 9),
        date(2026, 11, 2),
        date(2026, 10, 26),
    ]
    assert all(week.until - week.since == timedelta(7) for week in weeks)


def test_a_period_has_both_its_days() -> None:
    found = periods.period(date(2026, 1, 1), date(2026, 1, 1), periods.zone("UTC"))
    assert (found.since, found.until) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert periods.period(None, None, periods.zone("UTC")).parameters == {"since": "-infinity", "until": "infinity"}
