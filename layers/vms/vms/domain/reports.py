"""Reports for admins: what the corporation's videos, members and days come to.

The migration's triggers note what happens; `roll_up` moves it into running totals (see 0008_reports.sql). What happened
between two moments is the difference of two running totals, plus what is not rolled up yet, so that a report's cost is
that of its own rows, whatever the history. Deleted videos and members are not listed; what they were part of counts on
in everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

from vms.auth import Caller
from vms.database import Row
from vms.domain.access import OWN_CORPORATION, OWN_USER, OWN_VIDEO, read_all
from vms.pages import Page, Slice
from vms.periods import Day, Period, Unit


@dataclass(frozen=True, slots=True)
class VideoReport:
    """A live video in a period: members who viewed it for the first time, and completed it; hours; points granted."""

    video_id: int
    name: str
    viewers: int
    completions: int
    watched_hours: float
    points: int


@dataclass(frozen=True, slots=True)
class MemberReport:
    """A live member in a period. `last_seen_at` is the last log-in, renewal of a session or first view of all times."""

    user_id: int
    email: str
    videos_viewed: int
    videos_completed: int
    points: int
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class ViewsReport:
    """First views on a day or in the week from that day on, and the members who had them."""

    date: date
    views: int
    viewers: int


def _sums(
    kind: LiteralString, fresh: LiteralString, subject: LiteralString, since: LiteralString, until: LiteralString
) -> LiteralString:
    """Joins a row `t` of what a subject comes to from one moment up to another; `fresh` is its column in `activity`."""
    total: LiteralString = f"""(SELECT r.views, r.completions, r.points, r.seconds FROM activity_total r
        WHERE r.kind = '{kind}' AND r.subject = {subject} AND r.bucket <"""
    last: LiteralString = "ORDER BY r.bucket DESC LIMIT 1)"
    return f"""LEFT JOIN LATERAL {total} {until} {last} u ON true
    LEFT JOIN LATERAL {total} {since} {last} s ON true
    LEFT JOIN LATERAL (
        SELECT sum(a.views) AS views, sum(a.completions) AS completions, sum(a.points) AS points,
               sum(a.seconds) AS seconds
        FROM activity a WHERE a.{fresh} = {subject} AND a.bucket >= {since} AND a.bucket < {until}
    ) f ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(u.views, 0) - coalesce(s.views, 0) + coalesce(f.views, 0) AS views,
               coalesce(u.completions, 0) - coalesce(s.completions, 0) + coalesce(f.completions, 0) AS completions,
               coalesce(u.points, 0) - coalesce(s.points, 0) + coalesce(f.points, 0) AS points,
               coalesce(u.seconds, 0) - coalesce(s.seconds, 0) + coalesce(f.seconds, 0) AS seconds
    ) t"""


_SINCE: LiteralString = "%(since)s::timestamptz"
_UNTIL: LiteralString = "%(until)s::timestamptz"


def videos(caller: Caller, part: Slice, period: Period) -> Page[VideoReport]:
    """A page of the corporation's live videos, the newest first. Raises `Forbidden`: the caller is not an admin."""
    rows = read_all(
        caller,
        "caller.corporation_id AS target, v.seq, v.name, t.views, t.completions, t.points, t.seconds",
        f"""LEFT JOIN LATERAL (
            SELECT v.seq, v.name FROM video v WHERE {OWN_VIDEO} AND (v.seq + 0) < %(before)s
            ORDER BY (v.seq + 0) DESC LIMIT %(limit)s
        ) v ON true {_sums("video", "video_id", "v.seq", _SINCE, _UNTIL)} ORDER BY v.seq DESC""",
        {**part.parameters, **period.parameters},
    )
    return part.page(rows, _video)


def _video(row: Row) -> VideoReport:
    hours = round(float(row["seconds"]) / 3600, 2)
    return VideoReport(row["seq"], row["name"], int(row["views"]), int(row["completions"]), hours, int(row["points"]))


def members(caller: Caller, part: Slice, period: Period) -> Page[MemberReport]:
    """A page of the corporation's live members, the newest first. Raises `Forbidden`: the caller is not an admin."""
    rows = read_all(
        caller,
        "caller.corporation_id AS target, m.seq, m.email, t.views, t.completions, t.points, p.seen_at",
        f"""LEFT JOIN LATERAL (
            SELECT u.seq, u.email FROM "user" u WHERE {OWN_USER} AND (u.seq + 0) < %(before)s
            ORDER BY (u.seq + 0) DESC LIMIT %(limit)s
        ) m ON true {_sums("user", "user_id", "m.seq", _SINCE, _UNTIL)}
        CROSS JOIN LATERAL (
            SELECT greatest(
                (SELECT r.created_at FROM refresh_token r WHERE r.user_id = m.seq ORDER BY r.seq DESC LIMIT 1),
                (SELECT l.created_at FROM video_view_log l WHERE l.user_id = m.seq ORDER BY l.seq DESC LIMIT 1)
            ) AS seen_at
        ) p ORDER BY m.seq DESC""",
        {**part.parameters, **period.parameters},
    )
    return part.page(rows, _member)


def _member(row: Row) -> MemberReport:
    return MemberReport(
        row["seq"], row["email"], int(row["views"]), int(row["completions"]), int(row["points"]), row["seen_at"]
    )


# Hours of a window that the totals count viewers of.
_WINDOWS: dict[Unit, str] = {"day": "24 hours", "week": "168 hours"}


def _viewers(
    since: LiteralString, until: LiteralString, seen_since: LiteralString, seen_until: LiteralString
) -> LiteralString:
    """How many members, as far as they are rolled up, had a first view in one period and none in another."""
    return f"""(
        SELECT count(DISTINCT n.user_id) FROM viewer_presence n
        WHERE n.corporation_id = c.seq AND n.bucket >= {since} AND n.bucket < {until} AND NOT EXISTS (
            SELECT FROM viewer_presence o
            WHERE o.user_id = n.user_id AND o.bucket >= {seen_since} AND o.bucket < {seen_until}
        )
    )"""


def views(caller: Caller, part: Slice, unit: Unit, days: Sequence[Day]) -> Page[ViewsReport]:
    """A page of days or weeks, the newest first; `days` has them all, one more than the page if there are more.

    The totals have the viewers of 24 hours, or of 7 times that. Where a clock is changed, those of the hour that is
    more or less are counted one by one.

    Raises:
        Forbidden: the caller is not an admin.
    """
    rows = read_all(
        caller,
        f"""c.seq AS target, d.number AS seq, t.views, coalesce((
                SELECT r.viewers FROM activity_total r
                WHERE r.kind = %(kind)s AND r.subject = c.seq AND r.bucket <= d.since ORDER BY r.bucket DESC LIMIT 1
            ), 0) + CASE
                WHEN d.until > d.mark THEN {_viewers("d.mark", "d.until", "d.since", "d.mark")}
                WHEN d.until < d.mark THEN -{_viewers("d.until", "d.mark", "d.since", "d.until")}
                ELSE 0
            END + (
                SELECT count(DISTINCT a.user_id) FROM activity a
                WHERE a.corporation_id = c.seq AND a.views > 0 AND a.bucket >= d.since AND a.bucket < d.until
                  AND NOT EXISTS (
                    SELECT FROM viewer_presence n
                    WHERE n.user_id = a.user_id AND n.bucket >= d.since AND n.bucket < d.until
                  )
            ) AS viewers""",
        f"""JOIN corporation c ON {OWN_CORPORATION}
        LEFT JOIN (
            SELECT d.number, d.since, d.until, d.since + %(window)s::interval AS mark
            FROM unnest(%(numbers)s::bigint[], %(since)s::timestamptz[], %(until)s::timestamptz[])
                AS d (number, since, until)
        ) d ON true
        {_sums("corporation", "corporation_id", "c.seq", "d.since", "d.until")} ORDER BY d.number DESC""",
        {
            "kind": unit,
            "window": _WINDOWS[unit],
            "numbers": [day.date.toordinal() for day in days],
            "since": [day.since for day in days],
            "until": [day.until for day in days],
        },
    )
    return part.page(
        rows, lambda row: ViewsReport(date.fromordinal(row["seq"]), int(row["views"]), int(row["viewers"]))
    )
