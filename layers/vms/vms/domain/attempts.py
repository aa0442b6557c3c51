"""Counts failed attempts at a password, and refuses more of them for a while.

Failures are counted after the password was checked: concurrent attempts may exceed the limit by their number.
Successful ones never count.
"""

import hashlib
from collections.abc import Sequence

from vms import database
from vms.errors import TooManyAttempts
from vms.settings import settings


def subject(*parts: str) -> str:
    """The key that failures are counted by: the SHA-256 of the parts, in hex, which does not show them."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def check(subjects: Sequence[str]) -> None:
    """Check that none of these subjects has failed too often within the window.

    Raises:
        TooManyAttempts: with the seconds until the window ends.
    """
    refuse(
        database.fetch_one(f"SELECT {WAIT} AS wait", {"subjects": list(subjects), "most": settings().login_attempts})
    )


def refuse(row: database.Row | None) -> None:
    """Raise `TooManyAttempts` if the row's `wait`, selected as `WAIT`, is not null."""
    if row is not None and row["wait"] is not None:
        raise TooManyAttempts(max(1, int(row["wait"])))


# Seconds to wait, or null. Needs %(subjects)s and %(most)s. The first subject may fail `most` times, each further one
# ten times as often.
WAIT = """(
    SELECT ceil(extract(epoch FROM max(a.ends_at) - now()))
    FROM unnest(%(subjects)s::text[]) WITH ORDINALITY AS s (subject, place)
    JOIN login_attempt a ON a.subject = s.subject AND a.ends_at > now()
    WHERE a.failures >= %(most)s * CASE WHEN s.place = 1 THEN 1 ELSE 10 END
)"""


def record_failure(subjects: Sequence[str]) -> None:
    """Count one more failure for each subject, in a window that begins with the first failure."""
    database.fetch_all(
        """INSERT INTO login_attempt AS a (subject, ends_at)
        SELECT DISTINCT s, now() + make_interval(secs => %(seconds)s) FROM unnest(%(subjects)s::text[]) AS s ORDER BY s
        ON CONFLICT (subject) DO UPDATE SET
            failures = CASE WHEN a.ends_at > now() THEN a.failures + 1 ELSE 1 END,
            ends_at = CASE WHEN a.ends_at > now() THEN a.ends_at ELSE excluded.ends_at END""",
        {"subjects": list(subjects), "seconds": settings().login_window_seconds},
    )
