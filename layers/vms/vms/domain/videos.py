"""Videos: what a corporation's members watch. Deletion is soft, and only an effectively PAID plan undoes it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from vms import database, jwts
from vms.auth import Caller, Who
from vms.canonical import name_key
from vms.database import Parameters, Row
from vms.domain import answers, quotas
from vms.domain.access import (
    CALLER,
    OWN_CORPORATION,
    OWN_DELETED_VIDEO,
    OWN_VIDEO,
    PERMITTED,
    parameters,
    permit,
    read,
    read_all,
)
from vms.domain.corporations import EFFECTIVELY_PAID
from vms.errors import NotFound, PlanRequired
from vms.idempotency import IdempotencyKey
from vms.pages import Page, Slice
from vms.paths import object_key
from vms.settings import settings

COLUMNS: LiteralString = """v.seq, v.name, v.file_path, v.corporation_id, v.deleted, v.created_at, v.updated_at, v.size,
    v.duration, v.width, v.height, v.content_type, v.browser_playable, v.detail"""
_FILM = ("size", "duration", "width", "height", "content_type", "browser_playable", "detail")


# Seconds of video v, null where they are not known; 0 is not a length, since all of it would be watched at once.
DURATION: LiteralString = "nullif(round(v.duration::numeric, 3), 0)"
# Where progress p is in it. What was noted may be of a longer film, which this one took the place of.
POSITION: LiteralString = f"least(coalesce(p.position, 0), {DURATION})"
# What a video is to the caller, and whether it has a poster: of video v beside caller, after a page's rows were chosen.
MARKS: LiteralString = f"""l.seq IS NOT NULL AS viewed, {POSITION} AS position,
    p.completed_at IS NOT NULL AS completed, q.etag AS poster"""
MARKED: LiteralString = """LEFT JOIN video_view_log l ON l.user_id = caller.seq AND l.video_id = v.seq
    LEFT JOIN video_progress p ON p.user_id = caller.seq AND p.video_id = v.seq
    LEFT JOIN video_poster q ON q.video_id = v.seq"""


@dataclass(frozen=True, slots=True)
class Video:
    """A video as a guest sees it.

    `viewed`, `position` (seconds, 0 at the start) and `completed` are the caller's own; `poster` is the ETag of its
    poster, null where there is none. What is known of the file is null where it was put into the bucket without an
    upload: `size` in bytes, `duration` in seconds, pixels. `detail` names what browsers lack to play it, if they do.
    """

    id: int
    name: str
    corporation_id: int
    is_deleted: bool
    created_at: datetime
    updated_at: datetime
    size: int | None
    duration: float | None
    width: int | None
    height: int | None
    content_type: str | None
    browser_playable: bool | None
    detail: str | None
    viewed: bool
    position: float
    completed: bool
    poster: str | None


@dataclass(frozen=True, slots=True)
class AdminVideo(Video):
    """A video as an admin sees it: with the path of its file in the corporation's folder of the bucket."""

    file_path: str


@dataclass(frozen=True, slots=True)
class Source:
    """What the stream needs to know of a video: its file's S3 key, and whether this viewer has its points already.

    `content_type` is what an upload was found to be, None for a file that was put into the bucket.
    """

    key: str
    granted: bool
    content_type: str | None


def video_of(row: Row) -> Video:
    """The video of a row with `COLUMNS`, as its caller sees it."""
    common = (row["seq"], row["name"], row["corporation_id"], row["deleted"], row["created_at"], row["updated_at"])
    given = {name: row[name] for name in _FILM}
    given |= {name: row[name] for name in ("viewed", "completed", "poster")} | {"position": float(row["position"])}
    return (
        AdminVideo(*common, **given, file_path=row["file_path"])
        if row["caller_role"] == "admin"
        else Video(*common, **given)
    )


def create(
    caller: Caller, name: str, file_path: str, corporation_id: int | None, key: IdempotencyKey | None = None
) -> Video:
    """Add a video to the caller's corporation; its object need not be in S3 yet. Under a key once, raising as
    `answers.once` does.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: the caller is not an admin.
        QuotaExceeded: the plan has no room for another video.
    """
    answers.recall(key, caller)
    given = {
        **parameters(caller),
        **quotas.parameters(1, 0, file_path),
        "name": name,
        "name_key": name_key(name),
        "file_path": file_path,
        "corporation_id": corporation_id,
    }
    return answers.once(key, caller, lambda: _insert(caller, given))


def _insert(caller: Caller, given: Parameters) -> Video:
    row = database.fetch_one(
        # The lock also waits for the end of a corporation that is being deleted, which then gets no video.
        f"""WITH {CALLER}, target AS (
            SELECT c.seq, c.seq AS corporation_id, NULL::bigint AS owner, {EFFECTIVELY_PAID} AS paid
            FROM caller JOIN corporation c ON {OWN_CORPORATION}
            WHERE %(corporation_id)s::bigint IS NULL OR c.seq = %(corporation_id)s FOR NO KEY UPDATE OF c
        ), {quotas.USED}, made AS (
            INSERT INTO video AS v (name, name_key, file_path, corporation_id)
            SELECT %(name)s, %(name_key)s, %(file_path)s, target.seq FROM target, used, caller
            WHERE {PERMITTED} AND {quotas.FITS}
            RETURNING {COLUMNS}
        )
        SELECT caller.role AS caller_role, target.seq AS target, {quotas.COLUMNS}, {COLUMNS}, {MARKS}
        FROM caller LEFT JOIN target ON true LEFT JOIN used ON true LEFT JOIN made v ON true {MARKED}""",
        given,
    )
    row = permit(caller, row)
    if row["seq"] is None:
        raise quotas.exceeded(row)
    return video_of(row)


def get(caller: Caller, video_id: int) -> Video:
    """A live video of the caller's corporation. Raises `NotFound`."""
    return video_of(_get(caller, video_id))


def find_source(caller: Caller, video_id: int) -> Source:
    """What the stream needs of a live video of the caller's corporation. Raises `NotFound`, `FileMissing`."""
    row = _get(caller, video_id)
    return Source(object_key(row["corporation_id"], row["file_path"]), row["granted"], row["content_type"])


def issue_playback(caller: Caller, video_id: int, *, slices: bool) -> tuple[str, datetime]:
    """A token that streams this live video to the caller and does nothing else, and when it expires. Raises `NotFound`.

    It ends early with a new password and with "log out everywhere", which begin a new epoch of the user. With `slices`,
    ranges asked for with it are answered by at most `STREAM_SLICE_BYTES` each.
    """
    row = _get(caller, video_id)
    seconds = settings().playback_token_seconds
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    whose = (caller.user_id, caller.corporation_id, row["caller_role"])
    return jwts.issue("playback", *whose, seconds, vid=video_id, epoch=row["epoch"], slices=slices), expires_at


def _get(caller: Caller, video_id: int) -> Row:
    return read(
        caller,
        f"v.seq AS target, caller.epoch, {COLUMNS}, {MARKS}, coalesce(l.point, 0) > 0 AS granted",
        f"LEFT JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s {MARKED}",
        {"video_id": video_id},
    )


_NAME_KEY: LiteralString = "coalesce(v.name_key, normalize(lower(v.name), NFKC))"


def browse(
    caller: Caller, part: Slice, *, corporation_id: int | None = None, deleted: bool = False, query: str | None = None
) -> Page[Video]:
    """A page of the caller's corporation's videos: the live ones, or the deleted ones for an admin.

    With `query`, those that have it in their name, whatever its case and spelling (`vms.canonical.name_key`). Both read
    an index of the corporation's own videos, `ix_video_page`: what others have costs nothing.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: `deleted` and the caller is not an admin.
    """
    named: LiteralString = "" if query is None else f"AND position(%(query)s IN {_NAME_KEY}) > 0"
    rows = read_all(
        replace(caller, who=Who.ADMIN) if deleted else caller,
        f"""{COLUMNS}, {MARKS}, CASE WHEN caller.corporation_id = coalesce(%(corporation_id)s, caller.corporation_id)
                                       THEN caller.corporation_id END AS target""",
        f"""LEFT JOIN LATERAL (
            SELECT {COLUMNS} FROM video v WHERE {OWN_DELETED_VIDEO if deleted else OWN_VIDEO}
            AND (v.seq + 0) < %(before)s {named} ORDER BY (v.seq + 0) DESC LIMIT %(limit)s
        ) v ON true {MARKED} ORDER BY v.seq DESC""",
        {**part.parameters, "corporation_id": corporation_id, "query": query and name_key(query)},
    )
    return part.page(rows, video_of)


def change(caller: Caller, video_id: int, name: str | None, file_path: str | None) -> Video:
    """Rename a live video or point it to another object; None leaves a field as it is.

    Raises:
        NotFound: the caller's corporation has no such live video.
        Forbidden: the caller is not an admin.
        QuotaExceeded: the object is of an upload whose bytes a deletion has freed, and the plan has no room for them.
    """
    return _change(caller, video_id, name=name, file_path=file_path)


def delete(caller: Caller, video_id: int) -> None:
    """Delete a live video, softly. Raises as `change` does."""
    _change(caller, video_id, deleted=True)


def restore(caller: Caller, video_id: int) -> Video:
    """Bring a deleted video back; its corporation's plan must be PAID and not past its expiry at this moment.

    Raises:
        NotFound: the caller's corporation has no such deleted video.
        Forbidden: the caller is not an admin.
        PlanRequired: the plan does not allow it.
    """
    return _change(caller, video_id, restoring=True)


# Of a file at another path nothing is known.
_NEW_FILE: LiteralString = """file_path = coalesce(%(file_path)s, v.file_path),
    (size, duration, width, height, content_type, browser_playable, detail) = (
        SELECT v.size, v.duration, v.width, v.height, v.content_type, v.browser_playable, v.detail
        WHERE v.file_path = coalesce(%(file_path)s, v.file_path))"""


def _change(
    caller: Caller,
    video_id: int,
    *,
    name: str | None = None,
    file_path: str | None = None,
    deleted: bool = False,
    restoring: bool = False,
) -> Video:
    own = OWN_DELETED_VIDEO if restoring else OWN_VIDEO
    allowed: LiteralString = "target.paid" if restoring else "true"
    used: LiteralString = quotas.USED if file_path else quotas.NOTHING_MORE
    # A corporation that is being deleted is waited for, and then gets no video back.
    lock: LiteralString = "FOR KEY SHARE OF c" if restoring else "FOR NO KEY UPDATE OF c" if file_path else ""
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT v.seq, v.corporation_id, NULL::bigint AS owner, {EFFECTIVELY_PAID} AS paid
            FROM caller JOIN video v ON {own} AND v.seq = %(video_id)s JOIN corporation c ON {OWN_CORPORATION} {lock}
        ), {used}, changed AS (
            UPDATE video v SET name = coalesce(%(name)s, v.name), name_key = coalesce(%(name_key)s, v.name_key),
                               {_NEW_FILE}, deleted = %(deleted)s, updated_at = now()
            FROM target, caller, used
            WHERE v.seq = target.seq AND {own} AND {PERMITTED} AND {allowed} AND {quotas.FITS}
            RETURNING {COLUMNS}
        )
        SELECT caller.role AS caller_role, target.seq AS target, {quotas.COLUMNS}, {quotas.FITS} AS fits, {COLUMNS},
               {MARKS}
        FROM caller LEFT JOIN target ON true LEFT JOIN used ON true LEFT JOIN changed v ON true {MARKED}""",
        {
            **parameters(caller),
            **quotas.parameters(0, 0, file_path),
            "video_id": video_id,
            "name": name,
            "name_key": None if name is None else name_key(name),
            "file_path": file_path,
            "deleted": deleted,
        },
    )
    row = permit(caller, row)
    if restoring and not row["paid"]:
        raise PlanRequired
    if not row["fits"]:
        raise quotas.exceeded(row)
    if row["seq"] is None:  # deleted or restored by another request between the statement's snapshot and its update
        raise NotFound
    return video_of(row)
