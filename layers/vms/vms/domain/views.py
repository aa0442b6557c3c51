"""View logs and points: streaming a video grants its viewer 10 points, once per user and video.

At any moment and for every user, `user.point` is the sum of that user's `video_view_log.point`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from vms import database
from vms.auth import Caller
from vms.database import Row
from vms.domain.access import CALLER, OWN_USER, OWN_VIDEO, PERMITTED, SELF, parameters, permit, read, read_all
from vms.pages import Page, Slice

POINTS = 10

_COLUMNS: LiteralString = "l.seq, l.user_id, l.video_id, l.point, l.created_at"


@dataclass(frozen=True, slots=True)
class ViewLog:
    """A user's view of a video: when it was first, and the points that it granted (0 if it was only logged so far)."""

    id: int
    user_id: int
    video_id: int
    point: int
    viewed_at: datetime


def _view_log(row: Row) -> ViewLog:
    return ViewLog(row["seq"], row["user_id"], row["video_id"], row["point"], row["created_at"])


# The live video that the caller views, as the row that the view belongs to.
_TARGET: LiteralString = f"""target AS (
    SELECT v.seq, caller.seq AS owner FROM caller JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s
)"""


def grant(caller: Caller, video_id: int) -> bool:
    """Record that the caller views this video, with its points, in one statement: one transaction, one round trip.

    The unique key decides between concurrent views: the second waits for the first and then finds the points granted. A
    view that was only logged before (0 points) is raised to 10. Returns whether this call granted the points.

    Raises:
        Unauthenticated, NotFound: the user or the video is gone since the stream began.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}, {_TARGET}, viewed AS (
            INSERT INTO video_view_log AS l (user_id, video_id, point)
            SELECT caller.seq, target.seq, {POINTS} FROM caller, target WHERE {PERMITTED}
            ON CONFLICT ON CONSTRAINT uq_user_video_once DO UPDATE SET point = {POINTS} WHERE l.point = 0
            RETURNING l.user_id
        ), granted AS (
            UPDATE "user" u SET point = u.point + {POINTS}, updated_at = now()
            FROM viewed, caller WHERE u.seq = viewed.user_id AND {SELF}
            RETURNING u.seq
        )
        SELECT caller.role AS caller_role, target.seq AS target, target.owner, granted.seq IS NOT NULL AS granted
        FROM caller LEFT JOIN target ON true LEFT JOIN granted ON true""",
        {**parameters(caller), "video_id": video_id},
    )
    return bool(permit(caller, row)["granted"])


def log(caller: Caller, video_id: int) -> tuple[ViewLog, bool]:
    """Record that the caller views this video, granting nothing; returns the log, and whether this call made it.

    Raises:
        NotFound: the caller's corporation has no such live video.
    """
    row = database.fetch_one(
        # The no-op update makes RETURNING give the standing row even if a concurrent request has only just made it;
        # xmax is 0 only in a row that this statement inserted (it is the transaction that locked or replaced a row,
        # PostgreSQL manual 5.6).
        f"""WITH {CALLER}, {_TARGET}, logged AS (
            INSERT INTO video_view_log AS l (user_id, video_id)
            SELECT caller.seq, target.seq FROM caller, target WHERE {PERMITTED}
            ON CONFLICT ON CONSTRAINT uq_user_video_once DO UPDATE SET point = l.point
            RETURNING {_COLUMNS}, l.xmax = 0 AS made
        )
        SELECT caller.role AS caller_role, target.seq AS target, target.owner, {_COLUMNS}, l.made
        FROM caller LEFT JOIN target ON true LEFT JOIN logged l ON true""",
        {**parameters(caller), "video_id": video_id},
    )
    row = permit(caller, row)
    return _view_log(row), row["made"]


def has_viewed(caller: Caller, user_id: int, video_id: int) -> bool:
    """Whether this user of the caller's corporation has viewed this live video of it.

    Raises:
        NotFound: there is no such user or video.
        Forbidden: it is another user's log, and the caller is not an admin.
    """
    row = read(
        caller,
        "CASE WHEN u.seq IS NOT NULL THEN v.seq END AS target, l.seq IS NOT NULL AS viewed",
        f"""LEFT JOIN "user" u ON {OWN_USER} AND u.seq = %(user_id)s
        LEFT JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s
        LEFT JOIN video_view_log l ON l.user_id = u.seq AND l.video_id = v.seq""",
        {"user_id": user_id, "video_id": video_id},
        owner="u.seq",
    )
    return bool(row["viewed"])


def browse(caller: Caller, user_id: int, part: Slice) -> Page[ViewLog]:
    """A page of a user's view logs.

    Raises:
        NotFound: the caller's corporation has no such user.
        Forbidden: it is another user's, and the caller is not an admin.
    """
    rows = read_all(
        caller,
        f"u.seq AS target, {_COLUMNS}",
        f"""LEFT JOIN "user" u ON {OWN_USER} AND u.seq = %(user_id)s
        LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM video_view_log l WHERE l.user_id = u.seq AND l.seq < %(before)s
            ORDER BY l.seq DESC LIMIT %(limit)s
        ) l ON true ORDER BY l.seq DESC""",
        {**part.parameters, "user_id": user_id},
        owner="u.seq",
    )
    return part.page(rows, _view_log)
