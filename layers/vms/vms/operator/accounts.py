"""Corporations and their plans, sessions and viewers, as the operator sees them: of all corporations."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

from vms import database
from vms.canonical import name_key
from vms.database import Row
from vms.domain import quotas
from vms.domain.corporations import EFFECTIVELY_PAID, Plan
from vms.domain.quotas import Quota
from vms.operator.errors import Refused
from vms.pages import Page, Slice

_COLUMNS: LiteralString = f"""c.seq, c.name, c.plan_type, c.plan_expired_at, c.created_at, c.deleted_at,
    {EFFECTIVELY_PAID} AS paid,
    (SELECT count(*) FROM "user" u WHERE u.corporation_id = c.seq AND u.deleted_at IS NULL) AS members"""


@dataclass(frozen=True, slots=True)
class Account:
    """A corporation. `plan` is what it was given, `effective_plan` what that is worth now; deleted ones are shown too.

    `deleted_at` is when its admin deleted it: its rows and files are still there.
    """

    id: int
    name: str
    plan: Plan
    plan_expire_at: datetime | None
    effective_plan: Plan
    members: int
    created_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Usage:
    """An account with what it uses; `last_activity_at` is the last log-in, refresh or first view, if there was one."""

    account: Account
    quota: Quota
    admins: list[int]
    videos: int
    videos_deleted: int
    views: int
    points: int
    last_activity_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlanSet:
    """A plan that was changed."""

    before: Account
    after: Account


@dataclass(frozen=True, slots=True)
class Revoked:
    """How many users lost how many sessions."""

    users: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who watched a video, when for the first time, and what points that gave."""

    view_id: int
    user_id: int
    email: str
    user_deleted_at: datetime | None
    point: int
    created_at: datetime


def _account(row: Row) -> Account:
    return Account(
        row["seq"],
        row["name"],
        row["plan_type"],
        row["plan_expired_at"],
        "PAID" if row["paid"] else "FREE",
        row["members"],
        row["created_at"],
        row["deleted_at"],
    )


def browse(part: Slice, contains: str) -> Page[Account]:
    """A page of the corporations whose name contains a text, in any case and width, newest first."""
    rows = database.fetch_all(
        f"""SELECT {_COLUMNS} FROM corporation c
        WHERE c.seq < %(before)s AND position(%(contains)s IN c.name_key) > 0
        ORDER BY c.seq DESC LIMIT %(limit)s""",
        {**part.parameters, "contains": name_key(contains)},
    )
    return part.page(rows, _account)


def show(corporation_id: int) -> Usage:
    """One corporation with what it uses. Raises `Refused`: there is none of this id."""
    row = database.fetch_one(
        f"""SELECT {_COLUMNS}, usage.admins, usage.points, usage.views, films.live, films.deleted,
            usage.last_activity_at, taken.videos, taken.bytes
        FROM corporation c CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(u.seq) FILTER (WHERE u.role = 'admin' AND u.deleted_at IS NULL), '{{}}')
                       AS admins,
                   coalesce(sum(u.point), 0)::bigint AS points, coalesce(sum(seen.views), 0)::bigint AS views,
                   max(greatest(seen.last, came.last)) AS last_activity_at
            FROM "user" u
            CROSS JOIN LATERAL (
                SELECT count(*) AS views, max(l.created_at) AS last FROM video_view_log l WHERE l.user_id = u.seq
            ) seen
            CROSS JOIN LATERAL (SELECT max(t.created_at) AS last FROM refresh_token t WHERE t.user_id = u.seq) came
            WHERE u.corporation_id = c.seq
        ) usage CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE NOT v.deleted) AS live, count(*) FILTER (WHERE v.deleted) AS deleted
            FROM video v WHERE v.corporation_id = c.seq
        ) films CROSS JOIN LATERAL quota_used(c.seq, {EFFECTIVELY_PAID}) taken
        WHERE c.seq = %(id)s""",
        {"id": corporation_id},
    )
    if row is None:
        raise Refused(f"there is no corporation {corporation_id}")
    counts = (row["live"], row["deleted"], row["views"], row["points"])
    return Usage(_account(row), quotas.stated(row), sorted(row["admins"]), *counts, row["last_activity_at"])


def set_plan(corporation_id: int, plan: Plan, until: datetime | None) -> PlanSet:
    """Give a live corporation a plan: PAID until a time in the future, or without an end; FREE has none.

    Raises:
        Refused: there is no such live corporation, FREE has an end, or the end is past.
    """
    if plan == "FREE" and until is not None:
        raise Refused("a FREE plan has no end: leave UNTIL out")
    if until is not None and until <= datetime.now(UTC):
        raise Refused(f"the end of the plan, {until.isoformat()}, is past")
    given = {"id": corporation_id, "plan": plan, "until": until}
    with database.transaction():
        before = database.fetch_one(
            f"SELECT {_COLUMNS} FROM corporation c WHERE c.seq = %(id)s AND c.deleted_at IS NULL FOR NO KEY UPDATE",
            given,
        )
        after = database.fetch_one(
            f"""UPDATE corporation c SET plan_type = %(plan)s, plan_expired_at = %(until)s, updated_at = now()
            WHERE c.seq = %(id)s AND c.deleted_at IS NULL RETURNING {_COLUMNS}""",
            given,
        )
    if before is None or after is None:
        raise Refused(f"there is no corporation {corporation_id}, or it is deleted")
    return PlanSet(_account(before), _account(after))


def revoke_sessions(user_id: int | None, corporation_id: int | None) -> Revoked:
    """End the sessions and playback URLs of a user, or of all users of a corporation.

    Raises `Refused`: there is no such user or corporation.
    """
    given = {"user_id": user_id, "corporation_id": corporation_id}
    with database.transaction():
        # As when a user logs out everywhere: a session that begins meanwhile is waited for, and ends too.
        users = database.fetch_all(
            """UPDATE "user" u SET epoch = u.epoch + 1
            WHERE u.seq = %(user_id)s OR u.corporation_id = %(corporation_id)s RETURNING u.seq""",
            given,
        )
        ended = database.fetch_all(
            """UPDATE refresh_token SET revoked_at = now()
            WHERE revoked_at IS NULL AND user_id = ANY(%(users)s) RETURNING seq""",
            {"users": [row["seq"] for row in users]},
        )
    if not users:
        raise Refused(f"there is no {f'user {user_id}' if user_id is not None else f'corporation {corporation_id}'}")
    return Revoked(len(users), len(ended))


def who_watched(video_id: int, part: Slice) -> Page[Viewer]:
    """A page of a video's viewers, the latest first. Raises `Refused`: there is no such video, deleted or not."""
    rows = database.fetch_all(
        """SELECT v.seq AS video, l.seq, l.user_id, l.point, l.created_at, l.email, l.deleted_at
        FROM video v LEFT JOIN LATERAL (
            SELECT l.seq, l.user_id, l.point, l.created_at, u.email, u.deleted_at
            FROM video_view_log l JOIN "user" u ON u.seq = l.user_id
            WHERE l.video_id = v.seq AND l.seq < %(before)s ORDER BY l.seq DESC LIMIT %(limit)s
        ) l ON true
        WHERE v.seq = %(video_id)s ORDER BY l.seq DESC""",
        {**part.parameters, "video_id": video_id},
    )
    if not rows:
        raise Refused(f"there is no video {video_id}")
    return part.page(
        rows,
        lambda row: Viewer(
            row["seq"], row["user_id"], row["email"], row["deleted_at"], row["point"], row["created_at"]
        ),
    )
