"""Log-in sessions: refresh tokens that rotate, in families that are revoked as a whole.

A family begins with a log-in. Each of its refresh tokens works once and is then replaced by one of the next generation.
A token used again means that it was stolen, so the whole family ends (RFC 9700 section 4.14.2); but for
REFRESH_REUSE_SECONDS after its rotation it gives another token of that generation, since two tabs may use it at once
and an answer may get lost. The table holds only hashes of the tokens.

Whatever issues or revokes a token locks the user's row first, so that a revocation also finds a token that is being
issued at the same time.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from vms import database, jwts
from vms.auth import Caller
from vms.canonical import email_key
from vms.database import Row
from vms.domain import attempts
from vms.domain.access import CALLER, OWN_USER, PERMITTED, SELF, parameters, permit, read_all
from vms.errors import Unauthenticated
from vms.pages import Page, Slice
from vms.passwords import cost_of, hash_password, matches
from vms.settings import settings

_COLUMNS: LiteralString = "t.seq, t.user_id, t.created_at, t.expired_at, t.revoked_at"
_REFUSED = "The e-mail address or the password is wrong."


@dataclass(frozen=True, slots=True)
class Session:
    """A refresh token's record, never the token; `revoked_at` is set once it was used, logged out or revoked."""

    id: int
    user_id: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a log-in or a refresh answers; `expires_in` is the access token's life in seconds (RFC 6749 section 5.1)."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


def log_in(email: str, password: str, source_ip: str) -> TokenPair:
    """Begin a session.

    An unknown address and a wrong password take the same path: the same text, and the same bcrypt work.

    Raises:
        Unauthenticated: one of the two is wrong.
        TooManyAttempts: this address has failed too often recently, from this IP address or from all together.
    """
    key = email_key(email)
    subjects = [attempts.subject("login", key, source_ip), attempts.subject("login", key)]
    row = database.fetch_one(
        f"""SELECT {attempts.WAIT} AS wait, u.seq, u.password, u.role, u.corporation_id, u.epoch,
            (SELECT max(substring(s.password, 5, 2)) FROM "user" s WHERE s.deleted_at IS NULL) AS slowest
        FROM (SELECT 1) AS one LEFT JOIN (
            SELECT u.seq, u.password, u.role, u.corporation_id, u.epoch
            FROM "user" u JOIN corporation c ON c.seq = u.corporation_id AND c.deleted_at IS NULL
            WHERE u.email_key = %(key)s AND u.deleted_at IS NULL
        ) u ON true""",
        {"key": key, "subjects": subjects, "most": settings().login_attempts},
    )
    attempts.refuse(row)
    if row is None or not matches(password, row["password"], int(row["slowest"] or 0)):
        attempts.record_failure(subjects)
        raise Unauthenticated(_REFUSED)
    pair = _pair(row)
    outdated = cost_of(row["password"]) != settings().bcrypt_cost
    if not _begin(row, pair, subjects, hash_password(password) if outdated else None):
        raise Unauthenticated(_REFUSED)
    return pair


def _begin(user: Row, pair: TokenPair, subjects: Sequence[str], rehashed: str | None) -> bool:
    """Begin a family with the pair's refresh token, and store the password as `rehashed` if that is given.

    False if the user was deleted or has a new password since its row was read.
    """
    begun = database.fetch_one(
        # A log-in that overlaps a new password, which begins an epoch, or the user's deletion begins no session. In the
        # same epoch another log-in may have hashed the password again.
        """WITH locked AS (
            SELECT u.seq FROM "user" u
            WHERE u.seq = %(user_id)s AND (u.epoch = %(epoch)s OR u.password = %(password)s) AND u.deleted_at IS NULL
            FOR NO KEY UPDATE
        ), cleared AS (
            DELETE FROM login_attempt WHERE subject = ANY(%(subjects)s)
        ), rehashed AS (
            UPDATE "user" u SET password = %(rehashed)s
            FROM locked WHERE u.seq = locked.seq AND %(rehashed)s::text IS NOT NULL
        )
        INSERT INTO refresh_token (token, user_id, family, expired_at)
        SELECT %(token)s, locked.seq, %(family)s, now() + make_interval(secs => %(seconds)s) FROM locked
        RETURNING seq""",
        {
            "subjects": subjects,
            "token": _digest(pair.refresh_token),
            "user_id": user["seq"],
            "password": user["password"],
            "epoch": user["epoch"],
            "rehashed": rehashed,
            "family": uuid.uuid4(),
            "seconds": settings().refresh_token_seconds,
        },
    )
    return begun is not None


def refresh(refresh_token: str) -> TokenPair:
    """Replace a refresh token by the next of its family, with a new access token.

    Raises:
        Unauthenticated: it is not a valid refresh token, was revoked, or its user is gone; or it was used before, which
            revokes its family.
    """
    claims = jwts.verify(refresh_token, "refresh")
    digest, pair = _digest(refresh_token), None
    with database.transaction():
        user = database.fetch_one(
            """SELECT u.seq, u.role, u.corporation_id FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
            WHERE u.seq = %(user_id)s AND u.deleted_at IS NULL AND c.deleted_at IS NULL FOR NO KEY UPDATE OF u""",
            {"user_id": claims["sub"]},
        )
        if user is not None:
            pair = _pair(user)
            if not _rotate(digest, user["seq"], _digest(pair.refresh_token)):
                _revoke_family(digest, user["seq"])
                pair = None
    if pair is None:
        raise Unauthenticated
    return pair


def _rotate(digest: str, user_id: int, following: str) -> bool:
    """Record `following` as the next of the token's generation; False if the token may not be used (again).

    Wants the user locked.
    """
    rotated = database.fetch_one(
        # A token that was used stays good while its successors are unused and its rotation is recent.
        """WITH used AS (
            UPDATE refresh_token t
            SET revoked_at = coalesce(t.revoked_at, now()), rotated_at = coalesce(t.rotated_at, now())
            WHERE t.token = %(token)s AND t.user_id = %(user_id)s AND t.expired_at > now() AND (
                t.revoked_at IS NULL
                OR t.rotated_at > now() - make_interval(secs => %(reuse)s) AND NOT EXISTS (
                    SELECT FROM refresh_token n
                    WHERE n.family = t.family AND n.generation > t.generation AND n.revoked_at IS NOT NULL
                )
            )
            RETURNING t.family, t.generation
        )
        INSERT INTO refresh_token (token, user_id, family, generation, expired_at)
        SELECT %(following)s, %(user_id)s, used.family, used.generation + 1, now() + make_interval(secs => %(seconds)s)
        FROM used
        RETURNING seq""",
        {
            "token": digest,
            "user_id": user_id,
            "following": following,
            "reuse": settings().refresh_reuse_seconds,
            "seconds": settings().refresh_token_seconds,
        },
    )
    return rotated is not None


def log_out(caller: Caller, refresh_token: str) -> None:
    """End the session that this refresh token, used or not, belongs to. Idempotent.

    Raises:
        Unauthenticated: it is not a refresh token of the caller's, or the caller is gone.
    """
    claims = jwts.verify(refresh_token, "refresh", expired_too=True)
    if claims["sub"] != caller.user_id:
        raise Unauthenticated("This is not a refresh token of yours.")
    with database.transaction():
        row = database.fetch_one(
            f"""WITH {CALLER} SELECT caller.role AS caller_role, u.seq AS target
            FROM caller JOIN "user" u ON {OWN_USER} AND {SELF} FOR NO KEY UPDATE OF u""",
            parameters(caller),
        )
        if row is not None:
            _revoke_family(_digest(refresh_token), caller.user_id)
    permit(caller, row)


def browse(caller: Caller, user_id: int, part: Slice) -> Page[Session]:
    """A page of a user's sessions.

    Raises:
        NotFound: the caller's corporation has no such user.
        Forbidden: it is another user's, and the caller is not an admin.
    """
    rows = read_all(
        caller,
        f"u.seq AS target, {_COLUMNS}",
        f"""LEFT JOIN "user" u ON {OWN_USER} AND u.seq = %(user_id)s
        LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM refresh_token t WHERE t.user_id = u.seq AND t.seq < %(before)s
            ORDER BY t.seq DESC LIMIT %(limit)s
        ) t ON true ORDER BY t.seq DESC""",
        {**part.parameters, "user_id": user_id},
        owner="u.seq",
    )
    return part.page(rows, _session)


def revoke_all(caller: Caller, user_id: int) -> None:
    """Log a user out everywhere: its sessions and its playback URLs end. Raises as `browse` does."""
    given = {"user_id": user_id}
    with database.transaction():
        row = database.fetch_one(
            # A new epoch locks the row: the next statement, with a snapshot of its own, finds the sessions that began
            # before.
            f"""WITH {CALLER}, target AS (
                SELECT u.seq, u.seq AS owner FROM caller JOIN "user" u ON {OWN_USER} AND u.seq = %(user_id)s
            ), changed AS (
                UPDATE "user" u SET epoch = u.epoch + 1
                FROM target, caller WHERE u.seq = target.seq AND {PERMITTED} RETURNING u.seq
            )
            SELECT caller.role AS caller_role, target.seq AS target, target.owner, changed.seq
            FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
            {**parameters(caller), **given},
        )
        if row is not None and row["seq"] is not None:
            database.fetch_all(
                "UPDATE refresh_token SET revoked_at = now() WHERE user_id = %(user_id)s AND revoked_at IS NULL", given
            )
    permit(caller, row)


def purge() -> int:
    """Delete expired refresh tokens and past windows of failed log-ins.

    Returns how many tokens were deleted.
    """
    row = database.fetch_one(
        """WITH windows AS (DELETE FROM login_attempt WHERE ends_at < now()),
        purged AS (DELETE FROM refresh_token WHERE expired_at < now() RETURNING seq)
        SELECT count(*) AS purged FROM purged""",
        {},
    )
    return int(row["purged"]) if row else 0


def _pair(user: Row) -> TokenPair:
    config = settings()
    whose = (user["seq"], user["corporation_id"], user["role"])
    return TokenPair(
        jwts.issue("access", *whose, config.access_token_seconds),
        jwts.issue("refresh", *whose, config.refresh_token_seconds),
        "Bearer",
        config.access_token_seconds,
    )


def _revoke_family(digest: str, user_id: int) -> None:
    database.fetch_all(
        """UPDATE refresh_token SET revoked_at = now()
        WHERE revoked_at IS NULL
            AND family = (SELECT family FROM refresh_token WHERE token = %(token)s AND user_id = %(user_id)s)""",
        {"token": digest, "user_id": user_id},
    )


def _session(row: Row) -> Session:
    return Session(row["seq"], row["user_id"], row["created_at"], row["expired_at"], row["revoked_at"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
