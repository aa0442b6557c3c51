"""Limits the large streams of a user at the same time: each holds a lease on one of the user's slots until it ends.

A lease that a crashed function leaves behind ends by itself at that function's deadline. No advisory locks: they would
be state of a session, which pins a client at RDS Proxy.
"""

import logging

from vms import database
from vms.auth import Caller
from vms.database import DatabaseFailed
from vms.domain.access import CALLER, parameters, permit
from vms.errors import TooManyStreams, Unavailable

logger = logging.getLogger(__name__)


def acquire(caller: Caller, most: int, seconds: float) -> str:
    """Take one of the caller's `most` slots, for `seconds` at the longest; returns the lease, to be released.

    Raises:
        TooManyStreams: all of them are taken.
        Unauthenticated: the caller is gone.
    """
    for _ in range(most):
        row = database.fetch_one(
            # Any free slot, not the first one: then streams that begin at the same time seldom meet at one.
            f"""WITH {CALLER}, free AS (
                SELECT s.slot FROM caller, generate_series(1, %(most)s) AS s (slot)
                WHERE NOT EXISTS (
                    SELECT FROM stream_lease l WHERE l.user_id = caller.seq AND l.slot = s.slot AND l.expires_at > now()
                )
                ORDER BY random() LIMIT 1
            ), taken AS (
                INSERT INTO stream_lease AS l (user_id, slot, expires_at)
                SELECT caller.seq, free.slot, now() + make_interval(secs => %(seconds)s) FROM caller, free
                ON CONFLICT (user_id, slot) DO UPDATE SET lease = excluded.lease, expires_at = excluded.expires_at
                WHERE l.expires_at <= now()
                RETURNING l.lease
            )
            SELECT caller.role AS caller_role, caller.seq AS target, free.slot, taken.lease::text AS lease
            FROM caller LEFT JOIN free ON true LEFT JOIN taken ON true""",
            {**parameters(caller), "most": most, "seconds": seconds},
        )
        row = permit(caller, row)
        if row["lease"] is not None:
            return str(row["lease"])
        if row["slot"] is None:
            break
        # Another stream took that slot at this moment: there may be a further one.
    raise TooManyStreams


def release(caller: Caller, lease: str) -> None:
    """End a lease. If the database fails, the lease ends by itself at its time."""
    try:
        database.fetch_all(
            "DELETE FROM stream_lease WHERE user_id = %(user_id)s AND lease = %(lease)s::uuid",
            {"user_id": caller.user_id, "lease": lease},
        )
    except (Unavailable, DatabaseFailed):
        logger.warning("a stream's lease was not released; it ends by itself")


def purge() -> int:
    """Delete leases that have ended by themselves. Returns how many."""
    return len(database.fetch_all("DELETE FROM stream_lease WHERE expires_at < now() RETURNING slot", {}))
