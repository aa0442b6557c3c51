"""Completion of an upload: the parts become an object, the object is read, and the row becomes a video's.

Every step can be taken again, and a crash after any of them is repaired by the next call: S3 forgets a completed
upload, so the object itself is looked for; one row lock decides between completions, an abort and the expiry.
"""

import logging
from typing import LiteralString

from vms import database, multipart
from vms.auth import Caller
from vms.canonical import name_key
from vms.database import Row
from vms.domain import uploads, videos
from vms.domain.access import CALLER, OWN_CORPORATION, OWN_UPLOAD, OWN_VIDEO, PERMITTED, parameters, permit
from vms.domain.videos import COLUMNS, MARKED, MARKS, Video
from vms.errors import FileMissing, NotAVideo, NotFound, Problem, StorageFailed, UploadEnded, UploadIncomplete
from vms.multipart import Found, Part, PartsRefused
from vms.paths import object_key
from vms.probe import Film, probe

logger = logging.getLogger(__name__)

# How many missing parts a refusal names.
_NAMED = 20


def complete(caller: Caller, upload_id: int) -> tuple[Video, bool]:
    """Make the video of an upload, or give the one its file; and whether this call did so.

    Raises:
        NotFound: there is no such upload, or its video is deleted.
        Forbidden: the caller is not an admin.
        UploadIncomplete: parts are missing; the detail names them.
        NotAVideo: the file is not a film. It is removed, and the upload has ended.
        UploadEnded: it was aborted or has expired.
        StorageFailed: S3 does not answer well; the call can be sent again.
    """
    row = uploads.find(caller, upload_id)
    if done := _done(caller, row):
        return done, False
    try:
        found = _assemble(row)
        film = probe(found.size, lambda start, size: multipart.read(uploads.key_of(row), found, start, size))
    except NotAVideo:
        ended = uploads.end(caller, upload_id, "refused")
        if uploads.status_of(ended) != "complete":
            multipart.remove(uploads.key_of(row))
        raise
    except (UploadIncomplete, FileMissing) as failure:
        # Another request may have ended it meanwhile.
        if done := _done(caller, uploads.find(caller, upload_id)):
            return done, False
        raise failure if isinstance(failure, UploadIncomplete) else StorageFailed() from None
    made = _record(caller, row, film)
    if made is None:
        if done := _done(caller, uploads.find(caller, upload_id)):
            return done, False
        raise NotFound("The video of this upload is deleted.")
    return made, True


def _done(caller: Caller, row: Row) -> Video | None:
    """The video of an upload that is complete; None if it is open. Raises the error of one that has ended."""
    if row["status"] == "refused":
        multipart.remove(uploads.key_of(row))
        raise NotAVideo
    status = uploads.status_of(row)
    if status == "complete":
        return videos.get(caller, row["video_id"])
    if status != "open":
        if row["status"] != "open":  # else the job ends it; until then its parts stay
            multipart.remove(uploads.key_of(row))
        raise UploadEnded
    if row["replaces"] and not row["video_lives"]:
        raise NotFound("The video of this upload is deleted.")
    return None


def _assemble(row: Row) -> Found:
    """The object, put together now or before. Raises `UploadIncomplete`, `StorageFailed`."""
    key, s3_id = uploads.key_of(row), row["s3_upload_id"]
    listed = multipart.parts(key, s3_id) if s3_id else []
    wrong = _missing(row, listed or [])
    if listed is not None and not wrong:
        try:
            multipart.complete(key, s3_id, listed)
        except PartsRefused:
            wrong = "S3 does not take the parts together: send them again."
    found = multipart.find(key)
    if found is None or found.size != row["size"]:
        raise UploadIncomplete(wrong or "S3 has no parts of this upload any more.")
    return found


def _missing(row: Row, listed: list[Part]) -> str:
    """What is wrong with the parts; empty if they are those that were announced."""
    there = {part.number: part.size for part in listed}
    count = uploads.count_parts(row)
    missing = [number for number in range(1, count + 1) if number not in there]
    wrong = [n for n, size in there.items() if n <= count and size != uploads.length_of(row, n)]
    extra = [number for number in there if number > count]
    told = (("Missing", missing), ("Of a wrong size", wrong), ("Not announced", extra))
    return " ".join(f"{what}: {_ranges(numbers)}." for what, numbers in told if numbers)


def _ranges(numbers: list[int]) -> str:
    """Numbers in ascending order as text, such as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [f"{first}-{last}" if last > first else str(first) for first, last in runs[:_NAMED]]
    return ", ".join([*shown, "…"] if len(runs) > _NAMED else shown)


def _record(caller: Caller, upload: Row, film: Film) -> Video | None:
    """Make the upload complete, and the video of it; None if it is not open any more, or its video not live."""
    given = {
        **parameters(caller),
        "upload": upload["seq"],
        "name": upload["name"] or (None if upload["replaces"] else upload["file_name"]),
        "name_key": name_key(upload["name"] or upload["file_name"]),
        "duration": film.duration,
        "width": film.width,
        "height": film.height,
        "content_type": film.content_type,
        "browser_playable": film.browser_playable,
        "detail": film.detail,
    }
    row = database.fetch_one(_REPLACE if upload["replaces"] else _MAKE, given)
    row = permit(caller, row)
    if row["seq"] is None:
        return None
    if row["old_path"] is not None:
        _remove_old(object_key(row["corporation_id"], row["old_path"]))
    return videos.video_of(row)


def _remove_old(key: str) -> None:
    """Remove the file that another took the place of; if that fails, the job does it."""
    try:
        multipart.delete(key)
    except Problem:
        logger.warning("a replaced file could not be removed; the hourly job tries again")


_DONE: LiteralString = """done AS (
    UPDATE upload up SET status = 'complete', video_id = made.seq, updated_at = now()
    FROM target, made WHERE up.seq = target.seq RETURNING up.seq
)"""
_MAKE: LiteralString = f"""WITH {CALLER}, target AS (
    SELECT up.seq, NULL::bigint AS owner, up.file_path, up.size, up.corporation_id
    FROM caller JOIN upload up ON {OWN_UPLOAD} AND up.seq = %(upload)s AND up.status = 'open'
    JOIN corporation c ON {OWN_CORPORATION} FOR UPDATE OF up FOR KEY SHARE OF c
), made AS (
    INSERT INTO video AS v (name, name_key, file_path, corporation_id, size, duration, width, height, content_type,
                            browser_playable, detail)
    SELECT %(name)s, %(name_key)s, target.file_path, target.corporation_id, target.size, %(duration)s, %(width)s,
           %(height)s, %(content_type)s, %(browser_playable)s, %(detail)s
    FROM target, caller WHERE {PERMITTED} RETURNING {COLUMNS}
), {_DONE}
SELECT caller.role AS caller_role, caller.seq AS target, NULL AS old_path, {COLUMNS}, {MARKS}
FROM caller LEFT JOIN made v ON true {MARKED}"""
# `old` is the upload that the replaced file came by, if it did and no other video has it: then it goes. A file that was
# put into the bucket stays. It is not found by its status, which a completion at the same time has just changed.
_REPLACE: LiteralString = f"""WITH {CALLER}, target AS (
    SELECT up.seq, NULL::bigint AS owner, up.file_path, up.size, up.corporation_id, v.seq AS video,
           v.file_path AS old_path
    FROM caller JOIN upload up ON {OWN_UPLOAD} AND up.seq = %(upload)s AND up.status = 'open'
    JOIN video v ON {OWN_VIDEO} AND v.seq = up.video_id FOR UPDATE OF up, v
), made AS (
    UPDATE video v SET name = coalesce(%(name)s, v.name), file_path = target.file_path, size = target.size,
                       name_key = CASE WHEN %(name)s::text IS NULL THEN v.name_key ELSE %(name_key)s END,
                       duration = %(duration)s, width = %(width)s, height = %(height)s,
                       content_type = %(content_type)s, browser_playable = %(browser_playable)s, detail = %(detail)s,
                       updated_at = now()
    FROM target, caller WHERE v.seq = target.video AND {OWN_VIDEO} AND {PERMITTED} RETURNING {COLUMNS}
), {_DONE}, old AS (
    UPDATE upload o SET status = CASE o.status WHEN 'complete' THEN 'replaced' ELSE o.status END,
                        leftover = o.leftover OR o.status = 'complete', updated_at = now()
    FROM target, made
    WHERE o.corporation_id = target.corporation_id AND o.file_path = target.old_path AND o.seq <> target.seq
      AND NOT EXISTS (SELECT FROM target, video w WHERE w.corporation_id = target.corporation_id
                      AND w.file_path = target.old_path AND w.seq <> target.video)
    RETURNING CASE o.status WHEN 'replaced' THEN o.file_path END AS file_path
)
SELECT caller.role AS caller_role, caller.seq AS target, old.file_path AS old_path, {COLUMNS}, {MARKS}
FROM caller LEFT JOIN made v ON true LEFT JOIN old ON true {MARKED}"""
