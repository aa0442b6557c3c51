"""Posters: one image a video, kept beside its row.

In the database and not in the bucket: they are small, one statement checks the caller and stores or reads them, and the
function that takes them needs no right on the bucket.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vms import database, images
from vms.auth import Caller
from vms.domain.access import CALLER, OWN_VIDEO, PERMITTED, SEEN_VIDEO, parameters, permit, read
from vms.errors import Invalid

MOST_BYTES = 60 * 1024


@dataclass(frozen=True, slots=True)
class Poster:
    """A poster as it was stored: `poster` is its ETag without the quotes; sizes are bytes and pixels."""

    poster: str
    content_type: str
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A poster's bytes, None where the caller has them already."""

    etag: str
    content_type: str
    content: bytes | None


def put(caller: Caller, video_id: int, content: bytes) -> Poster:
    """Give a live video this poster in place of any before.

    Raises:
        Invalid: it is neither a WebP nor a JPEG image.
        NotFound: the caller's corporation has no such live video.
        Forbidden: the caller is not an admin.
    """
    try:
        image = images.read(content)
    except ValueError as failure:
        raise Invalid([("body", str(failure))]) from None
    etag = hashlib.sha256(content).hexdigest()[:32]
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT v.seq, NULL::bigint AS owner FROM caller JOIN video v ON {OWN_VIDEO} AND v.seq = %(video_id)s
        ), stored AS (
            INSERT INTO video_poster (video_id, content_type, etag, content)
            SELECT target.seq, %(type)s, %(etag)s, %(content)s FROM target, caller WHERE {PERMITTED}
            ON CONFLICT (video_id) DO UPDATE
            SET content_type = EXCLUDED.content_type, etag = EXCLUDED.etag, content = EXCLUDED.content
        )
        SELECT caller.role AS caller_role, target.seq AS target FROM caller LEFT JOIN target ON true""",
        {**parameters(caller), "video_id": video_id, "type": image.type, "etag": etag, "content": content},
    )
    permit(caller, row)
    return Poster(etag, image.type, len(content), image.width, image.height)


def get(caller: Caller, video_id: int, known: Sequence[str] = ()) -> Picture:
    """The poster of a video, without its bytes if its quoted ETag is among the `known` ones, or one is `*`.

    Raises:
        NotFound: the caller's corporation has no such video, or a deleted one and the caller is not an admin; or it has
            no poster.
    """
    row = read(
        caller,
        """q.video_id AS target, q.content_type, q.etag,
        CASE WHEN '"' || q.etag || '"' <> ALL (%(known)s) AND '*' <> ALL (%(known)s) THEN q.content END AS content""",
        f"LEFT JOIN video v ON {SEEN_VIDEO} AND v.seq = %(video_id)s LEFT JOIN video_poster q ON q.video_id = v.seq",
        {"video_id": video_id, "known": list(known)},
    )
    return Picture(row["etag"], row["content_type"], row["content"])
