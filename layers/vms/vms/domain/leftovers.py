"""What uploads leave behind: those that expire, and what S3 still has of those that ended or were replaced.

The function that ends an upload removes its parts and its object at once. But it may crash, S3 may refuse, and a part
or a completion may be on its way: so the upload is `leftover` until a later run of the hourly job has removed it again.
"""

import logging
import time

from vms import database, multipart
from vms.database import Row
from vms.domain.uploads import key_of
from vms.errors import Problem

logger = logging.getLogger(__name__)

# How long, in seconds, something that was on its way when an upload ended may still arrive in S3.
SETTLED_SECONDS = 900
# How many uploads a run of the job clears away at most, and the days that an ended upload stays in the list.
CLEARED = 500
KEPT_DAYS = 30


def expire(seconds: float) -> int:
    """End what has expired, and clear away what ended uploads have left in S3, for so many seconds at most.

    Returns how many expired. What S3 refuses now is tried again by the next run.
    """
    deadline = time.monotonic() + seconds
    expired = database.fetch_all(
        """UPDATE upload SET status = 'expired', leftover = true, updated_at = now()
        WHERE status = 'open' AND expires_at <= now() RETURNING seq""",
        {},
    )
    rows = database.fetch_all(
        """SELECT seq, corporation_id, file_path, status, updated_at < now() - make_interval(secs => %(settled)s)
            AS settled
        FROM upload WHERE leftover ORDER BY updated_at LIMIT %(most)s""",
        {"settled": SETTLED_SECONDS, "most": CLEARED},
    )
    for row in rows:
        if time.monotonic() > deadline:
            break
        try:
            clear(row)
        except Problem:
            logger.warning("what an upload has left could not be removed", extra={"upload": row["seq"]})
            continue
        if row["settled"]:
            database.fetch_all("UPDATE upload SET leftover = false WHERE seq = %(seq)s", {"seq": row["seq"]})
    database.fetch_all(
        """DELETE FROM upload WHERE status NOT IN ('open', 'complete') AND NOT leftover
        AND updated_at < now() - make_interval(days => %(days)s)""",
        {"days": KEPT_DAYS},
    )
    return len(expired)


def clear(row: Row) -> None:
    """Remove what S3 has of an upload that has ended or was replaced. Raises `StorageFailed`."""
    if row["status"] == "replaced":
        multipart.delete(key_of(row))
    else:
        multipart.remove(key_of(row))
