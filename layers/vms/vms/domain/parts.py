"""The parts of an upload: where they go, and which are there. S3's own upload begins when the first one is signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vms import database, multipart
from vms.auth import Caller
from vms.database import Row
from vms.domain.access import CALLER, OWN_UPLOAD, PERMITTED, parameters, permit
from vms.domain.uploads import Upload, common, count_parts, find, key_of, length_of, status_of
from vms.errors import Invalid, UploadEnded
from vms.multipart import Part
from vms.settings import upload_settings


@dataclass(frozen=True, slots=True)
class UploadWithParts(Upload):
    """An upload with the parts that S3 has."""

    received: list[Part]


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Where a part goes: the body of a PUT to `url`, of exactly the part's size, before `expires_at`."""

    number: int
    url: str
    expires_at: datetime


def get(caller: Caller, upload_id: int) -> UploadWithParts:
    """An upload with the parts that S3 has. Raises as `find` does, and `StorageFailed`."""
    row = find(caller, upload_id)
    return UploadWithParts(*common(row), received(row) if status_of(row) == "open" else [])


def received(row: Row) -> list[Part]:
    """The parts that S3 has; all of them if it has put them together and nobody knows yet."""
    listed = multipart.parts(key_of(row), row["s3_upload_id"]) if row["s3_upload_id"] else []
    if listed is None:
        found = multipart.find(key_of(row))
        whole = found is not None and found.size == row["size"]
        numbers = range(1, count_parts(row) + 1) if whole else ()
        return [Part(number, length_of(row, number), found.etag) for number in numbers] if found else []
    return listed


def sign(caller: Caller, upload_id: int, numbers: Sequence[int]) -> list[SignedPart]:
    """Where these parts go.

    Raises:
        Invalid: the file has no such part.
        UploadEnded: it is not open.
        Problem: those of `find`, and `StorageFailed`.
    """
    row = find(caller, upload_id)
    if wrong := [number for number in numbers if number > count_parts(row)]:
        raise Invalid([("numbers", f"the file has {count_parts(row)} parts, no part {wrong[0]}")])
    if status_of(row) != "open":
        raise UploadEnded
    key, s3_id = key_of(row), row["s3_upload_id"] or _begin_in_s3(caller, row)
    seconds = min(upload_settings().url_seconds, max(int((row["expires_at"] - _now()).total_seconds()), 1))
    end = _now() + timedelta(seconds=seconds)
    return [SignedPart(n, multipart.sign(key, s3_id, n, length_of(row, n), seconds), end) for n in numbers]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _begin_in_s3(caller: Caller, row: Row) -> str:
    """Begin the upload in S3. Of two at the same time, as when a page signs several parts, one is kept."""
    begun = multipart.begin(key_of(row))
    given = {**parameters(caller), "upload": row["seq"], "s3_upload_id": begun}
    changed = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT up.seq, NULL::bigint AS owner FROM caller JOIN upload up ON {OWN_UPLOAD} AND up.seq = %(upload)s
        ), changed AS (
            UPDATE upload up SET s3_upload_id = coalesce(up.s3_upload_id, %(s3_upload_id)s), updated_at = now()
            FROM target, caller WHERE up.seq = target.seq AND up.status = 'open' AND {PERMITTED}
            RETURNING up.s3_upload_id
        )
        SELECT caller.role AS caller_role, target.seq AS target, changed.s3_upload_id
        FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
        given,
    )
    kept = permit(caller, changed)["s3_upload_id"]
    if kept is None:  # it ended meanwhile
        multipart.remove(key_of(row))
        raise UploadEnded
    if kept != begun:
        multipart.abort(key_of(row), begun)
    return str(kept)
