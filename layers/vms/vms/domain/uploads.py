"""Uploads: a file that comes in parts, from its announcement to its completion or its end.

The row says what was announced; S3 says which parts are there (`vms.domain.parts`). `vms.domain.completion` makes a
video of it. What S3 has of one that ended otherwise is removed at once, and again by `vms.domain.leftovers`.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from posixpath import splitext
from typing import Literal, LiteralString

from vms import database, multipart
from vms.auth import Caller
from vms.database import Parameters, Row
from vms.domain import answers, quotas
from vms.domain.access import (
    CALLER,
    OWN_CORPORATION,
    OWN_UPLOAD,
    OWN_VIDEO,
    PERMITTED,
    parameters,
    permit,
    read,
    read_all,
)
from vms.domain.corporations import EFFECTIVELY_PAID
from vms.errors import UploadEnded
from vms.idempotency import IdempotencyKey
from vms.multipart import MAX_PARTS
from vms.pages import Page, Slice
from vms.paths import object_key
from vms.settings import upload_settings

type Status = Literal["open", "complete", "aborted", "expired"]

MIB = 1024 * 1024
# Bytes of a part, unless the file would have more than 10,000 of them.
PART_BYTES = 8 * MIB

_COLUMNS: LiteralString = """up.seq, up.video_id, up.name, up.file_name, up.file_path, up.size, up.part_size, up.status,
    up.expires_at, up.created_at, up.corporation_id, up.replaces, up.s3_upload_id, up.expires_at <= now() AS over"""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload; sizes in bytes. Part `n` of `part_count`, from 1, has `part_size` bytes, but the last has the rest.

    `video_id` is the video that was made of it, or the one whose file it replaces.
    """

    id: int
    corporation_id: int
    status: Status
    file_name: str
    name: str
    size: int
    part_size: int
    part_count: int
    expires_at: datetime
    created_at: datetime
    video_id: int | None


def status_of(row: Row) -> Status:
    """What callers are told: an upload is over when its time is, whether or not the job has run."""
    status: str = row["status"]
    if status == "open":
        return "expired" if row["over"] else "open"
    told: dict[str, Status] = {"replaced": "complete", "refused": "aborted", "aborted": "aborted", "expired": "expired"}
    return told.get(status, "complete")


def count_parts(row: Row) -> int:
    """How many parts the file has."""
    return -(-int(row["size"]) // int(row["part_size"]))


def length_of(row: Row, number: int) -> int:
    """The bytes of this part."""
    return min(int(row["part_size"]), int(row["size"]) - (number - 1) * int(row["part_size"]))


def key_of(row: Row) -> str:
    """The S3 key of the file."""
    return object_key(row["corporation_id"], row["file_path"])


def common(row: Row) -> tuple[int, int, Status, str, str, int, int, int, datetime, datetime, int | None]:
    """The fields of `Upload`, in their order."""
    name, size = row["name"] or row["file_name"], row["size"]
    end, made = row["expires_at"], row["created_at"]
    parts = row["part_size"], count_parts(row)
    return (
        row["seq"],
        row["corporation_id"],
        status_of(row),
        row["file_name"],
        name,
        size,
        *parts,
        end,
        made,
        row["video_id"],
    )


def _upload(row: Row) -> Upload:
    return Upload(*common(row))


def begin(
    caller: Caller,
    file_name: str,
    size: int,
    name: str | None,
    video_id: int | None,
    key: IdempotencyKey | None = None,
) -> Upload:
    """Announce a file of so many bytes for a new video, or for the one whose file it replaces.

    Raises:
        NotFound: the caller's corporation has no such live video.
        Forbidden: the caller is not an admin.
        QuotaExceeded: the plan has no room for it.
    """
    answers.recall(key, caller)
    given = {
        **parameters(caller),
        **quotas.parameters(0 if video_id else 1, size),
        "name": name,
        "file_name": file_name,
        "file_path": f"uploads/{uuid.uuid4()}/{_safe(file_name)}",
        "size": size,
        "part_size": max(PART_BYTES, -(-size // MAX_PARTS // MIB) * MIB),
        "video_id": video_id,
        "seconds": upload_settings().upload_seconds,
    }
    return answers.once(key, caller, lambda: _insert(caller, given, replaces=video_id is not None))


def _safe(file_name: str) -> str:
    """A name that needs no escape in a key, with the file's ending."""
    stem, ending = splitext(re.split(r"[/\\]", file_name)[-1])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[-80:].strip("-.") or "film"
    return name + re.sub(r"[^A-Za-z0-9.]+", "", ending)[:20].rstrip(".")


def _insert(caller: Caller, given: Parameters, *, replaces: bool) -> Upload:
    video: LiteralString = f"JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s" if replaces else ""
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT c.seq, c.seq AS corporation_id, NULL::bigint AS owner, {EFFECTIVELY_PAID} AS paid
            FROM caller JOIN corporation c ON {OWN_CORPORATION} {video} FOR NO KEY UPDATE OF c
        ), {quotas.USED}, made AS (
            INSERT INTO upload AS up (corporation_id, video_id, replaces, name, file_name, file_path, size, part_size,
                                      expires_at)
            SELECT target.corporation_id, %(video_id)s, %(video_id)s::bigint IS NOT NULL, %(name)s, %(file_name)s,
                   %(file_path)s, %(size)s, %(part_size)s, now() + make_interval(secs => %(seconds)s)
            FROM target, used, caller WHERE {PERMITTED} AND {quotas.FITS}
            RETURNING {_COLUMNS}
        )
        SELECT caller.role AS caller_role, target.seq AS target, {quotas.COLUMNS}, up.seq, up.corporation_id,
               up.video_id, up.name, up.file_name, up.size, up.part_size, up.status, up.expires_at, up.created_at,
               up.over
        FROM caller LEFT JOIN target ON true LEFT JOIN used ON true LEFT JOIN made up ON true""",
        given,
    )
    row = permit(caller, row)
    if row["seq"] is None:
        raise quotas.exceeded(row)
    return _upload(row)


def browse(caller: Caller, part: Slice) -> Page[Upload]:
    """A page of the caller's corporation's uploads, whatever became of them. Raises `Forbidden`."""
    rows = read_all(
        caller,
        f"caller.corporation_id AS target, {_COLUMNS}",
        f"""LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM upload up WHERE {OWN_UPLOAD} AND (up.seq + 0) < %(before)s
            ORDER BY (up.seq + 0) DESC LIMIT %(limit)s
        ) up ON true ORDER BY up.seq DESC""",
        part.parameters,
    )
    return part.page(rows, _upload)


def find(caller: Caller, upload_id: int) -> Row:
    """The row of an upload of the caller's corporation, and in `video_lives` whether its video, if any, is not deleted.

    Raises:
        NotFound: there is no such upload.
        Forbidden: the caller is not an admin.
    """
    return read(
        caller,
        f"up.seq AS target, {_COLUMNS}, v.seq IS NOT NULL AS video_lives",
        f"""LEFT JOIN upload up ON {OWN_UPLOAD} AND up.seq = %(upload)s
        LEFT JOIN video v ON {OWN_VIDEO} AND v.seq = up.video_id""",
        {"upload": upload_id},
    )


def end(caller: Caller, upload_id: int, status: Literal["aborted", "refused"]) -> Row:
    """End an open upload so; returns its row as it is then. What S3 has of it is to be removed.

    Raises as `find` does.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT {_COLUMNS}, NULL::bigint AS owner
            FROM caller JOIN upload up ON {OWN_UPLOAD} AND up.seq = %(upload)s FOR UPDATE OF up
        ), changed AS (
            UPDATE upload up SET status = %(status)s, leftover = true, updated_at = now()
            FROM target, caller WHERE up.seq = target.seq AND up.status = 'open' AND {PERMITTED} RETURNING up.status
        )
        SELECT caller.role AS caller_role, target.seq AS target, target.corporation_id, target.file_path,
               coalesce(changed.status, target.status) AS status, target.over
        FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
        {**parameters(caller), "upload": upload_id, "status": status},
    )
    return permit(caller, row)


def abort(caller: Caller, upload_id: int) -> None:
    """End an upload and remove its parts; nothing happens to one that has ended without a film.

    Raises:
        UploadEnded: it is complete.
        Problem: those of `find`, and `StorageFailed`; the upload has ended then, and the job removes the parts.
    """
    row = end(caller, upload_id, "aborted")
    if status_of(row) == "complete":
        raise UploadEnded("This upload is complete. Delete its video instead.")
    multipart.remove(key_of(row))
