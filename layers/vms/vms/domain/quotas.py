"""How much a corporation may have: bytes and videos, by its effective plan.

Open uploads count as what they will be. Deleted videos count while they can be restored, which a PAID plan alone can.
Files that came by own means count no bytes. Of concurrent statements that add something, each waits for the one before
it by the corporation's lock, and then counts what that one added.
"""

from typing import LiteralString

from vms.database import Row
from vms.errors import QuotaExceeded
from vms.settings import quota

# Part of a statement whose `target`, with `paid`, has locked the corporation FOR NO KEY UPDATE.
USED: LiteralString = """used AS (
    SELECT q.videos, q.bytes, target.paid,
           CASE WHEN target.paid THEN %(paid_videos)s ELSE %(free_videos)s END::bigint AS most_videos,
           CASE WHEN target.paid THEN %(paid_bytes)s ELSE %(free_bytes)s END::bigint AS most_bytes
    FROM target, quota_used(target.corporation_id, target.paid) AS q
)"""
FITS: LiteralString = """(%(more_videos)s = 0 OR used.videos + %(more_videos)s <= used.most_videos)
    AND (%(more_bytes)s = 0 OR used.bytes + %(more_bytes)s <= used.most_bytes)"""
COLUMNS: LiteralString = "used.videos, used.bytes, used.most_videos, used.most_bytes, used.paid"


def parameters(videos: int, size: int) -> dict[str, object]:
    """What `USED` and `FITS` take, for so many more videos and bytes."""
    limits = quota()
    return {
        "more_videos": videos,
        "more_bytes": size,
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
