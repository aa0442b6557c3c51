"""How much a corporation may have: bytes and videos, by its effective plan.

Open uploads count as what they will be, until their time is over. Deleted videos count while they can be restored,
which a PAID plan alone can; an uploaded file that a live video has counts all the same. Files that were put into the
bucket without an upload count no bytes. Of concurrent statements that add something, each waits for the one before it
by the corporation's lock, and then counts what that one added.
"""

from dataclasses import dataclass
from typing import LiteralString

from vms.auth import Caller
from vms.database import Row
from vms.domain.access import OWN_CORPORATION, read
from vms.errors import QuotaExceeded
from vms.settings import quota

# Part of a statement whose `target`, with `paid`, has locked the corporation FOR NO KEY UPDATE.
USED: LiteralString = """used AS (
    SELECT q.videos, q.bytes, q.path_bytes, target.paid,
           CASE WHEN target.paid THEN %(paid_videos)s ELSE %(free_videos)s END::bigint AS most_videos,
           CASE WHEN target.paid THEN %(paid_bytes)s ELSE %(free_bytes)s END::bigint AS most_bytes
    FROM target, quota_used(target.corporation_id, target.paid, %(path)s::text) AS q
)"""
# The same where nothing is added: it always fits.
NOTHING_MORE: LiteralString = """used AS (
    SELECT 0 AS videos, 0 AS bytes, 0 AS path_bytes, target.paid, 0 AS most_videos, 0 AS most_bytes FROM target
)"""
FITS: LiteralString = """(%(more_videos)s = 0 OR used.videos + %(more_videos)s <= used.most_videos)
    AND (%(more_bytes)s + used.path_bytes = 0 OR used.bytes + %(more_bytes)s + used.path_bytes <= used.most_bytes)"""
COLUMNS: LiteralString = "used.videos, used.bytes, used.most_videos, used.most_bytes, used.paid"


@dataclass(frozen=True, slots=True)
class Quota:
    """What the effective plan has room for, and what is taken of it: videos, and bytes of uploaded files."""

    videos: int
    used_videos: int
    bytes: int
    used_bytes: int


def get(caller: Caller, corporation_id: int) -> Quota:
    """The quota of the caller's own corporation. Raises `NotFound` for any other."""
    row = read(
        caller,
        "target.seq AS target, target.paid, q.videos, q.bytes",
        f"""LEFT JOIN LATERAL (
            SELECT c.seq, c.plan_type = 'PAID' AND (c.plan_expired_at IS NULL OR c.plan_expired_at > now()) AS paid
            FROM corporation c WHERE {OWN_CORPORATION} AND c.seq = %(id)s
        ) target ON true LEFT JOIN LATERAL quota_used(target.seq, target.paid) q ON target.seq IS NOT NULL""",
        {"id": corporation_id},
    )
    return stated(row)


def stated(row: Row) -> Quota:
    """What is taken, from a row with `videos`, `bytes` and `paid`, beside what the plan has room for."""
    limits = quota()
    paid = (limits.paid_videos, limits.paid_bytes)
    videos, size = paid if row["paid"] else (limits.free_videos, limits.free_bytes)
    return Quota(videos, row["videos"], size, row["bytes"])


def parameters(videos: int, size: int, path: str | None = None) -> dict[str, object]:
    """What `USED` and `FITS` take, for so many more videos and bytes, and for a video that is pointed to this path."""
    limits = quota()
    return {
        "more_videos": videos,
        "more_bytes": size,
        "path": path,
        "paid_videos": limits.paid_videos,
        "free_videos": limits.free_videos,
        "paid_bytes": limits.paid_bytes,
        "free_bytes": limits.free_bytes,
    }


def exceeded(row: Row) -> QuotaExceeded:
    """The refusal, from a row with `COLUMNS`: it says what is left."""
    videos, size = (max(row[f"most_{what}"] - row[what], 0) for what in ("videos", "bytes"))
    return QuotaExceeded(
        f"The {'PAID' if row['paid'] else 'FREE'} plan has {videos} of its {row['most_videos']} videos and "
        f"{size} of its {row['most_bytes']} bytes left."
    )
