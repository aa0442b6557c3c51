"""Log-in sessions: refresh tokens that rotate, in families that are revoked as a whole.

A family begins with a log-in. Each of its refresh tokens works once and is then replaced by the next; a token that comes a second time has
been stolen, or its thief was faster, so the whole family ends (RFC 9700 section 4.14.2). The table holds only hashes of the tokens.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime

from vms import database, jwts
from vms.auth import CALLER, Caller, permit
from vms.database import Row
from vms.domain import attempts
from vms.errors import Unauthenticated
from vms.pages import Page, Slice
from vms.passwords import matches
from vms.settings import settings

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
        TooManyAttempts: this address failed too often of late, from here or from everywhere.
    """
    address = email.lower()
    subjects = [attempts.subject("login", address, source_ip), attempts.subject("login", address)]
    row = database.fetch_one(
        f"""SELECT {attempts.WAIT} AS wait, u.seq, u.password, u.role, u.corporation_id
        FROM (SELECT 1) AS one LEFT JOIN (
            SELECT u.* FROM "user" u JOIN corporation c ON c.seq = u.corporation_id AND c.deleted_at IS NULL
            WHERE lower(u.email) = lower(%(email)s) AND u.deleted_at IS NULL
        ) u ON true""",
        {"email": email, "subjects": subjects, "most": settings().login_attempts},
    )
    attempts.refuse(row)
    if row is None or not matches(password, row["password"]):
        attempts.record_failure(subjects)
        raise Unauthenticated(_REFUSED)
    pair = _pair(row)
    started = database.fetch_one(
        # The password is asked for again, so that a log-in that overlaps its change or the user's deletion begins no session.
        """WITH cleared AS (DELETE FROM login_attempt WHERE subject = ANY(%(subjects)s))
        INSERT INTO refresh_token (token, user_id, family, expired_at)
        SELECT %(token)s, u.seq, %(family)s, now() + make_interval(secs => %(seconds)s) FROM "user" u
        WHERE u.seq = %(user_id)s AND u.password = %(password)s AND u.deleted_at IS NULL
        RETURNING seq""",
        {
            "subjects": subjects,
            "token": _digest(pair.refresh_token),
            "user_id": row["seq"],
            "password": row["password"],
            "family": uuid.uuid4(),
            "seconds": settings().refresh_token_seconds,
        },
    )
    if started is None:
        raise Unauthenticated(_REFUSED)
    return pair


def refresh(refresh_token: str) -> TokenPair:
    """Replace a refresh token by the next of its family, with a new access token. It works once: a second use revokes the family.

    Raises:
        Unauthenticated: it is no valid refresh token, was used before, was revoked, or its user is gone.
    """
    claims = jwts.verify(refresh_token, "refresh")
    digest = _digest(refresh_token)
    row = database.fetch_one(
        """SELECT u.seq, u.role, u.corporation_id FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
        WHERE u.seq = %(user_id)s AND u.deleted_at IS NULL AND c.deleted_at IS NULL""",
        {"user_id": claims["sub"]},
    )
    if row is None:
        raise Unauthenticated
    pair = _pair(row)
    rotated = database.fetch_one(
        # The row lock of the UPDATE makes one of two concurrent uses wait, and then find the token revoked.
        """WITH used AS (
            UPDATE refresh_token SET revoked_at = now()
            WHERE token = %(token)s AND user_id = %(user_id)s AND revoked_at IS NULL AND expired_at > now()
            RETURNING user_id, family
        )
        INSERT INTO refresh_token (token, user_id, family, expired_at)
        SELECT %(next)s, used.user_id, used.family, now() + make_interval(secs => %(seconds)s) FROM used
        RETURNING seq""",
        {
            "token": digest,
            "user_id": claims["sub"],
            "next": _digest(pair.refresh_token),
            "seconds": settings().refresh_token_seconds,
        },
    )
    if rotated is None:
        _revoke_family(digest, claims["sub"])
        raise Unauthenticated
    return pair


def log_out(caller: Caller, refresh_token: str) -> None:
    """End the session that this refresh token, used or not, belongs to. Idempotent.

    Raises:
        Unauthenticated: it is no refresh token of the caller's, or the caller is gone.
    """
    permit(
        caller, database.fetch_one(f"WITH {CALLER} SELECT caller.role AS caller_role FROM caller", caller.parameters)
    )
    claims = jwts.verify(refresh_token, "refresh", expired_too=True)
    if claims["sub"] != caller.user_id:
        raise Unauthenticated("This is not a refresh token of yours.")
    _revoke_family(_digest(refresh_token), caller.user_id)


def browse(caller: Caller, user_id: int, part: Slice) -> Page[Session]:
    """A page of a user's sessions.

    Raises:
        NotFound: the caller's corporation has no such user.
        Forbidden: it is another user's, and the caller is no admin.
    """
    rows = database.fetch_all(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, u.seq AS target, t.* FROM caller
        LEFT JOIN "user" u ON u.seq = %(user_id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
        LEFT JOIN LATERAL (
            SELECT seq, user_id, created_at, expired_at, revoked_at FROM refresh_token
            WHERE user_id = u.seq AND seq < %(before)s ORDER BY seq DESC LIMIT %(limit)s
        ) t ON true ORDER BY t.seq DESC""",
        {**caller.parameters, **part.parameters, "user_id": user_id},
    )
    permit(caller, rows[0] if rows else None, owner=user_id)
    return part.page(rows, _session)


def revoke_all(caller: Caller, user_id: int) -> None:
    """Log a user out everywhere. Raises as `browse` does."""
    row = database.fetch_one(
        f"""WITH {CALLER}, target AS (
            SELECT u.seq FROM caller
            JOIN "user" u ON u.seq = %(user_id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
        ), revoked AS (
            UPDATE refresh_token t SET revoked_at = now() FROM target, caller
            WHERE t.user_id = target.seq AND t.revoked_at IS NULL AND (caller.role = 'admin' OR target.seq = caller.seq)
        )
        SELECT caller.role AS caller_role, target.seq AS target FROM caller LEFT JOIN target ON true""",
        {**caller.parameters, "user_id": user_id},
    )
    permit(caller, row, owner=user_id)


def purge() -> int:
    """Forget what no longer matters: expired refresh tokens and past windows of failed log-ins. Returns how many tokens went."""
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
        WHERE family = (SELECT family FROM refresh_token WHERE token = %(token)s AND user_id = %(user_id)s) AND revoked_at IS NULL""",
        {"token": digest, "user_id": user_id},
    )


def _session(row: Row) -> Session:
    return Session(row["seq"], row["user_id"], row["created_at"], row["expired_at"], row["revoked_at"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
