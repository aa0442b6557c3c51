"""Watch progress: what a user has watched of a video, as merged intervals of its seconds.

A report may be sent twice, late, in another order, or by two devices at once: it is a union, so the seconds are the
same. What it may add is bounded by the time that has passed, so that a film is not watched in a moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from vms import database
from vms.auth import Caller
from vms.database import Row
from vms.domain.access import CALLER, OWN_VIDEO, PERMITTED, parameters, permit, read
from vms.domain.videos import DURATION, POSITION
from vms.settings import settings

# How fast a film can be watched, and what a report may add to that: the pause before a first report, lost reports, a
# device whose clock runs apart. A first report has no report before it, so it may add this much alone: players report
# every ten seconds. A view log says nothing here; it may be weeks old.
FASTEST: LiteralString = "2.5"
ALLOWANCE: LiteralString = "30"
# The longest ranges are kept, of so many at most. Longer ones never give way to shorter ones, so the seconds never get
# fewer, and whoever sees the whole film has one range in the end, whatever was reported before.
MOST_RANGES: LiteralString = "200"

# A pair of seconds from the film's start, of which the second is not the smaller.
type Interval = Sequence[float]

_COLUMNS: LiteralString = "p.position, p.watched, p.reported_at, p.completed_at"
# All seconds of video v.
_FILM: LiteralString = f"nummultirange(numrange(0, {DURATION}))"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the caller is: seconds of the film as it is now, with `duration` null where its length is not known.

    `completed_at` is when the film was first completed, and stays.
    """

    position: float
    watched_seconds: float
    duration: float | None
    completed_at: datetime | None


def _first_seconds(ranges: LiteralString, most: LiteralString) -> LiteralString:
    """The part of a multirange that holds its first so many seconds, from the start of the film on; null for none."""
    return f"""(
        SELECT range_agg(numrange(lower(f.r), least(upper(f.r), lower(f.r) + {most} - f.before))) FROM (
            SELECT r, sum(upper(r) - lower(r)) OVER (ORDER BY lower(r)) - (upper(r) - lower(r)) AS before
            FROM unnest({ranges}) r
        ) f WHERE f.before < {most}
    )"""


def _seconds(ranges: LiteralString) -> LiteralString:
    """How long a multirange is, 0 for null."""
    return f"(SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest({ranges}) r)"


def _merged(watched: LiteralString, since: LiteralString) -> LiteralString:
    """`watched` with the report's first new seconds, clipped to the film, and the moment; `since` is the last report.

    What was watched before stays, although the film may be a shorter one now: reports have told it. The moment is read
    when the row's lock is there, and is later than any other report's.
    """
    new = _first_seconds(
        f"%(watched)s::nummultirange * target.film - {watched}",
        f"round({FASTEST} * extract(epoch FROM n.moment - n.since) + {ALLOWANCE}, 3)",
    )
    return f"""SELECT k.watched, {_seconds("k.watched")} AS seconds, n.moment,
               {_seconds("k.watched * target.film")} >= target.enough AS completes
        FROM target, LATERAL (
            SELECT coalesce({since}, c.moment) AS since,
                   greatest(c.moment, {since} + interval '1 microsecond') AS moment
            FROM (SELECT clock_timestamp() AS moment) c
        ) n, LATERAL (
            SELECT coalesce(range_agg(l.r), '{{}}') AS watched FROM (
                SELECT r FROM unnest({watched} + coalesce({new}, '{{}}')) r
                ORDER BY upper(r) - lower(r) DESC, lower(r) LIMIT {MOST_RANGES}
            ) l
        ) k"""


def report(caller: Caller, video_id: int, position: float, watched: Sequence[Interval]) -> tuple[Progress, bool]:
    """Note where the caller's player is in this video and what it has played since its last report.

    Returns the progress, and whether this report completed the video.

    One statement, one round trip; a concurrent report of the same user waits for it. Any member may, with or without a
    view log: a view is the stream's matter. Intervals and position are clipped to the film. Of what is new, at most
    2.5 seconds for each second since the last report and 30 more count, from the start of the film on.

    Raises:
        NotFound: the caller's corporation has no such live video.
    """
    none: LiteralString = "'{}'::nummultirange"
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT v.seq, caller.seq AS owner, {DURATION} AS duration, {_FILM} AS film,
                   {DURATION} * %(percent)s / 100 AS enough
            FROM caller JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s
        ), reported AS (
            INSERT INTO video_progress AS p (user_id, video_id, position, watched, watched_seconds, reported_at,
                                             completed_at)
            SELECT caller.seq, target.seq, least(%(position)s::numeric, target.duration),
                   m.watched, m.seconds, m.moment, CASE WHEN m.completes THEN m.moment END
            FROM target, caller, LATERAL ({_merged(none, "NULL::timestamptz")}) m WHERE {PERMITTED}
            ON CONFLICT (user_id, video_id) DO UPDATE SET position = EXCLUDED.position,
                (watched, watched_seconds, reported_at, completed_at) = (
                    SELECT m.watched, m.seconds, m.moment,
                           coalesce(p.completed_at, CASE WHEN m.completes THEN m.moment END)
                    FROM ({_merged("p.watched", "p.reported_at")}) m
                )
            RETURNING {_COLUMNS}
        )
        SELECT caller.role AS caller_role, target.seq AS target, target.owner, target.duration, {_COLUMNS},
               {_seconds("p.watched * target.film")} AS seconds
        FROM caller LEFT JOIN target ON true LEFT JOIN reported p ON true""",
        {
            **parameters(caller),
            "video_id": video_id,
            "position": f"{position:.3f}",
            "watched": _multirange(watched),
            "percent": settings().complete_percent,
        },
    )
    row = permit(caller, row)
    return _progress(row), row["completed_at"] is not None and row["completed_at"] == row["reported_at"]


def get(caller: Caller, video_id: int) -> Progress:
    """How far the caller is in this video: at its start, if nothing was reported.

    Raises:
        NotFound: the caller's corporation has no such live video.
    """
    row = read(
        caller,
        f"""v.seq AS target, {DURATION} AS duration, {POSITION} AS position,
        p.completed_at, {_seconds(f"p.watched * {_FILM}")} AS seconds""",
        f"""LEFT JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s
        LEFT JOIN video_progress p ON p.user_id = caller.seq AND p.video_id = v.seq""",
        {"video_id": video_id},
    )
    return _progress(row)


def _multirange(intervals: Sequence[Interval]) -> str:
    """PostgreSQL's text for these intervals, to the millisecond; it sorts and merges them (manual, section 8.17)."""
    return "{" + ",".join(f"[{start:.3f},{end:.3f})" for start, end in intervals) + "}"


def _progress(row: Row) -> Progress:
    duration = None if row["duration"] is None else float(row["duration"])
    return Progress(float(row["position"]), float(row["seconds"]), duration, row["completed_at"])
