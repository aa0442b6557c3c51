"""View logs and points: streaming a video grants its viewer 10 points, once per user and video, whatever happens at the same time.

At any moment and for every user, `user.point` is the sum of that user's `video_view_log.point`.
"""

from dataclasses import dataclass
from datetime import datetime

from vms import database
from vms.auth import CALLER, Caller, permit
from vms.database import Row
from vms.pages import Page, Slice

POINTS = 10


@dataclass(frozen=True, slots=True)
class ViewLog:
    """That a user viewed a video, when first, and the points that it granted (10, or 0 if it was only logged so far)."""

    id: int
    user_id: int
    video_id: int
    point: int
    viewed_at: datetime


def _view_log(row: Row) -> ViewLog:
    return ViewLog(row["seq"], row["user_id"], row["video_id"], row["point"], row["created_at"])


def grant(caller: Caller, video_id: int) -> bool:
    """Record that the caller views this video, with its points: one statement, hence one transaction and one round trip.

    The unique key decides between concurrent views: the second waits for the first and then finds the points granted. A view that was only
    logged before (0 points) is raised to 10. Returns whether this call granted the points.

    Raises:
        Unauthenticated, NotFound: the user or the video is gone since the stream began.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT v.seq FROM caller
            JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND NOT v.deleted
        ), viewed AS (
            INSERT INTO video_view_log (user_id, video_id, point) SELECT caller.seq, target.seq, {POINTS} FROM caller, target
            ON CONFLICT ON CONSTRAINT uq_user_video_once DO UPDATE SET point = {POINTS} WHERE video_view_log.point = 0
            RETURNING user_id
        ), granted AS (
            UPDATE "user" u SET point = u.point + {POINTS}, updated_at = now() FROM viewed WHERE u.seq = viewed.user_id
            RETURNING u.seq
        )
        SELECT caller.role AS caller_role, target.seq AS target, granted.seq IS NOT NULL AS granted
        FROM caller LEFT JOIN target ON true LEFT JOIN granted ON true""",
        {**caller.parameters, "video_id": video_id},
    )
    return bool(permit(caller, row)["granted"])


def log(caller: Caller, video_id: int) -> tuple[ViewLog, bool]:
    """Record that the caller views this video, granting nothing; returns the log, and whether this call made it.

    Raises:
        NotFound: the caller's corporation has no such live video.
    """
    row = database.fetch_one(
        # The no-op update makes RETURNING give the standing row even if a concurrent request has only just made it; xmax is 0 only in a
        # row that this statement inserted (it is the transaction that locked or replaced a row, PostgreSQL manual 5.6).
        f"""WITH {CALLER}, target AS (
            SELECT v.seq FROM caller
            JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND NOT v.deleted
        ), logged AS (
            INSERT INTO video_view_log (user_id, video_id) SELECT caller.seq, target.seq FROM caller, target
            ON CONFLICT ON CONSTRAINT uq_user_video_once DO UPDATE SET point = video_view_log.point
            RETURNING *, xmax = 0 AS made
        )
        SELECT caller.role AS caller_role, target.seq AS target, logged.*
        FROM caller LEFT JOIN target ON true LEFT JOIN logged ON true""",
        {**caller.parameters, "video_id": video_id},
    )
    row = permit(caller, row)
    return _view_log(row), row["made"]


def has_viewed(caller: Caller, user_id: int, video_id: int) -> bool:
    """Whether this user of the caller's corporation has viewed this live video of it.

    Raises:
        NotFound: there is no such user or video.
        Forbidden: it is another user's log, and the caller is no admin.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, v.seq AS target, l.seq IS NOT NULL AS viewed FROM caller
        LEFT JOIN "user" u ON u.seq = %(user_id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
        LEFT JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = u.corporation_id AND NOT v.deleted
        LEFT JOIN video_view_log l ON l.user_id = u.seq AND l.video_id = v.seq""",
        {**caller.parameters, "user_id": user_id, "video_id": video_id},
    )
    return bool(permit(caller, row, owner=user_id)["viewed"])


def browse(caller: Caller, user_id: int, part: Slice) -> Page[ViewLog]:
    """A page of a user's view logs.

    Raises:
        NotFound: the caller's corporation has no such user.
        Forbidden: it is another user's, and the caller is no admin.
    """
    rows = database.fetch_all(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, u.seq AS target, l.* FROM caller
        LEFT JOIN "user" u ON u.seq = %(user_id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
        LEFT JOIN LATERAL (
            SELECT * FROM video_view_log WHERE user_id = u.seq AND seq < %(before)s ORDER BY seq DESC LIMIT %(limit)s
        ) l ON true ORDER BY l.seq DESC""",
        {**caller.parameters, **part.parameters, "user_id": user_id},
    )
    permit(caller, rows[0] if rows else None, owner=user_id)
    return part.page(rows, _view_log)
