"""Kept answers: a change requested again under the same idempotency key is made once, and gets the first answer.

The answer is kept in the transaction of its change, for 24 hours. Only success is kept: what was refused has changed
nothing and may be tried again under its key.
"""

from collections.abc import Callable

from vms import database
from vms.auth import Caller
from vms.domain import attempts
from vms.domain.access import read
from vms.errors import IdempotencyKeyReused, Problem, Unavailable
from vms.idempotency import IdempotencyKey, Replayed
from vms.settings import settings


def recall(key: IdempotencyKey | None, caller: Caller | None) -> None:
    """Return if this key, of this caller (None: the anonymous), has no kept answer. One round trip; none without a key.

    Call it before work that a repetition need not do, such as hashing a password.

    Raises:
        Replayed: with the kept answer.
        IdempotencyKeyReused: the kept answer is of another request.
        TooManyAttempts: the anonymous sent too many other requests under this key.
        Unauthenticated, Forbidden: the caller is gone, or its role does not allow the route (any more).
    """
    if key is None:
        return
    if caller is None:
        _recall_anonymous(key)
        return
    row = read(
        caller,
        "caller.seq AS target, k.fingerprint, k.answer",
        "LEFT JOIN idempotency_key k ON k.key = %(key)s AND k.expires_at > now()",
        {"key": key.digest},
        owner="caller.seq",
    )
    if row["answer"] is None:
        return
    if not key.matches(row["fingerprint"]):
        raise IdempotencyKeyReused
    raise Replayed(row["answer"])


def _recall_anonymous(key: IdempotencyKey) -> None:
    """As `recall`; another body may be a guess at the password in the first, so it counts as a failed log-in does."""
    subjects = [attempts.subject("idempotency", key.digest)]
    row = database.fetch_one(
        f"""SELECT {attempts.WAIT} AS wait, k.fingerprint, k.answer
        FROM idempotency_key k WHERE k.key = %(key)s AND k.expires_at > now()""",
        {"key": key.digest, "subjects": subjects, "most": settings().login_attempts},
    )
    if row is None:
        return
    attempts.refuse(row)
    if not key.matches(row["fingerprint"]):
        attempts.record_failure(subjects)
        raise IdempotencyKeyReused
    raise Replayed(row["answer"])


def once[T](key: IdempotencyKey | None, caller: Caller | None, change: Callable[[], T]) -> T:
    """Make the change, unless it was made under this key; without a key just make it.

    `change` runs statements, returns what is answered, and begins no transaction of its own. Of two requests at the
    same time the second waits here for the first one's transaction; it goes on itself if that was rolled back. Adds
    four round trips to the change's.

    Raises:
        Replayed, IdempotencyKeyReused, TooManyAttempts: the other request was first.
        Unavailable: it takes too long.
        Problem, Taken: those of `change`; nothing is kept.
    """
    if key is None:
        return change()
    fingerprint = key.fingerprint  # may read the signing keys again: not within the transaction
    with database.transaction():
        outcome = _change(key, change) if _claim(key.digest, fingerprint) else None
    if outcome is None:
        recall(key, caller)
        raise Unavailable  # what was kept a moment ago has just expired
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def purge() -> int:
    """Delete expired answers; returns how many."""
    row = database.fetch_one(
        """WITH purged AS (DELETE FROM idempotency_key WHERE expires_at <= now() RETURNING key)
        SELECT count(*) AS purged FROM purged""",
        {},
    )
    return int(row["purged"]) if row else 0


def _claim(digest: str, fingerprint: str) -> bool:
    """Take the key, unless an answer is kept under it; waits for another transaction that has taken it."""
    row = database.fetch_one(
        """INSERT INTO idempotency_key AS k (key, fingerprint, expires_at)
        VALUES (%(key)s, %(fingerprint)s, now() + interval '24 hours')
        ON CONFLICT (key) DO UPDATE
            SET fingerprint = excluded.fingerprint, answer = NULL, expires_at = excluded.expires_at
            WHERE k.expires_at <= now()
        RETURNING k.key""",
        {"key": digest, "fingerprint": fingerprint},
    )
    return row is not None


def _change[T](key: IdempotencyKey, change: Callable[[], T]) -> T | Problem:
    """Make the change and keep its answer, or return the refusal, because a transaction that raises is disconnected."""
    try:
        made = change()
    except Problem as refused:
        database.fetch_all("DELETE FROM idempotency_key WHERE key = %(key)s", {"key": key.digest})
        return refused
    database.fetch_all(
        "UPDATE idempotency_key SET answer = %(answer)s WHERE key = %(key)s",
        {"key": key.digest, "answer": key.serialize(made)},
    )
    return made
