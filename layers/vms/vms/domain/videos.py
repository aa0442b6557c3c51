"""Videos: what a corporation's members watch. Deletion is soft, and only an effectively PAID plan undoes it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from vms import database, jwts
from vms.auth import CALLER, PERMITTED, Caller, Who, permit
from vms.database import Row
from vms.domain.corporations import EFFECTIVELY_PAID
from vms.errors import NotFound, PlanRequired
from vms.pages import Page, Slice
from vms.settings import settings


@dataclass(frozen=True, slots=True)
class Video:
    """A video as a guest sees it."""

    id: int
    name: str
    corporation_id: int
    is_deleted: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AdminVideo(Video):
    """A video as an admin sees it: with the S3 key of its file in the project's bucket."""

    file_path: str


@dataclass(frozen=True, slots=True)
class Source:
    """What the stream needs to know of a video: its name and its file's S3 key."""

    name: str
    file_path: str


def _video(row: Row) -> Video:
    common = (row["seq"], row["name"], row["corporation_id"], row["deleted"], row["created_at"], row["updated_at"])
    return AdminVideo(*common, row["file_path"]) if row["caller_role"] == "admin" else Video(*common)


def create(caller: Caller, name: str, file_path: str, corporation_id: int | None) -> Video:
    """Add a video to the caller's corporation; its object need not be in S3 yet.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: the caller is no admin.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT corporation_id AS seq FROM caller
            WHERE %(corporation_id)s::bigint IS NULL OR corporation_id = %(corporation_id)s
        ), made AS (
            INSERT INTO video (name, file_path, corporation_id)
            SELECT %(name)s, %(file_path)s, target.seq FROM target, caller WHERE {PERMITTED}
            RETURNING *
        )
        SELECT caller.role AS caller_role, target.seq AS target, made.* FROM caller LEFT JOIN target ON true LEFT JOIN made ON true""",
        {**caller.parameters, "name": name, "file_path": file_path, "corporation_id": corporation_id},
    )
    return _video(permit(caller, row))


def get(caller: Caller, video_id: int) -> Video:
    """A live video of the caller's corporation. Raises `NotFound`."""
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, v.seq AS target, v.* FROM caller
        LEFT JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND NOT v.deleted""",
        {**caller.parameters, "video_id": video_id},
    )
    return _video(permit(caller, row))


def find_source(caller: Caller, video_id: int) -> Source:
    """What the stream needs of a live video of the caller's corporation. Raises `NotFound`."""
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, v.seq AS target, v.name, v.file_path FROM caller
        LEFT JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND NOT v.deleted""",
        {**caller.parameters, "video_id": video_id},
    )
    row = permit(caller, row)
    return Source(row["name"], row["file_path"])


def issue_playback(caller: Caller, video_id: int) -> tuple[str, datetime]:
    """A token that streams this live video to the caller and does nothing else, and when it ends. Raises `NotFound`."""
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, v.seq AS target FROM caller
        LEFT JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND NOT v.deleted""",
        {**caller.parameters, "video_id": video_id},
    )
    role = permit(caller, row)["caller_role"]
    seconds = settings().playback_token_seconds
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    return jwts.issue("playback", caller.user_id, caller.corporation_id, role, seconds, vid=video_id), expires_at


def browse(caller: Caller, part: Slice, *, corporation_id: int | None = None, deleted: bool = False) -> Page[Video]:
    """A page of the caller's corporation's videos: the live ones, or the deleted ones for an admin.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: `deleted` and the caller is no admin.
    """
    rows = database.fetch_all(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, v.*,
               CASE WHEN %(corporation_id)s::bigint IS NULL OR caller.corporation_id = %(corporation_id)s
                    THEN caller.corporation_id END AS target
        FROM caller LEFT JOIN LATERAL (
            SELECT * FROM video
            WHERE corporation_id = caller.corporation_id AND deleted = {"true" if deleted else "false"} AND seq < %(before)s
            ORDER BY seq DESC LIMIT %(limit)s
        ) v ON true ORDER BY v.seq DESC""",
        {**caller.parameters, **part.parameters, "corporation_id": corporation_id},
    )
    permit(replace(caller, who=Who.ADMIN) if deleted else caller, rows[0] if rows else None)
    return part.page(rows, _video)


def change(caller: Caller, video_id: int, name: str | None, file_path: str | None) -> Video:
    """Rename a live video or point it to another object; None leaves a field as it is.

    Raises:
        NotFound: the caller's corporation has no such live video.
        Forbidden: the caller is no admin.
    """
    return _change(caller, video_id, {"name": name, "file_path": file_path, "deleted": False, "restoring": False})


def delete(caller: Caller, video_id: int) -> None:
    """Delete a live video, softly. Raises as `change` does."""
    _change(caller, video_id, {"name": None, "file_path": None, "deleted": True, "restoring": False})


def restore(caller: Caller, video_id: int) -> Video:
    """Bring a deleted video back; its corporation's plan must be PAID and not past its expiry at this moment.

    Raises:
        NotFound: the caller's corporation has no such deleted video.
        Forbidden: the caller is no admin.
        PlanRequired: the plan does not allow it.
    """
    return _change(caller, video_id, {"name": None, "file_path": None, "deleted": False, "restoring": True})


def _change(caller: Caller, video_id: int, fields: dict[str, object]) -> Video:
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT v.seq, {EFFECTIVELY_PAID} AS paid FROM caller
            JOIN video v ON v.seq = %(video_id)s AND v.corporation_id = caller.corporation_id AND v.deleted = %(restoring)s
            JOIN corporation c ON c.seq = v.corporation_id
        ), changed AS (
            UPDATE video v SET name = coalesce(%(name)s, v.name), file_path = coalesce(%(file_path)s, v.file_path),
                               deleted = %(deleted)s, updated_at = now()
            FROM target, caller
            WHERE v.seq = target.seq AND v.deleted = %(restoring)s AND {PERMITTED} AND (target.paid OR NOT %(restoring)s)
            RETURNING v.*
        )
        SELECT caller.role AS caller_role, target.seq AS target, target.paid, changed.*
        FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
        {**caller.parameters, **fields, "video_id": video_id},
    )
    row = permit(caller, row)
    if fields["restoring"] and not row["paid"]:
        raise PlanRequired
    if row["seq"] is None:  # somebody else deleted or restored it between the statement's snapshot and its update
        raise NotFound
    return _video(row)
