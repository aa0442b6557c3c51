"""Users: the members of a corporation, at least one of them an admin."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

import psycopg.errors

from vms import database
from vms.auth import CALLER, PERMITTED, Caller, permit
from vms.database import Row
from vms.domain import attempts
from vms.domain.corporations import taken_conflict
from vms.errors import Conflict, Forbidden, Invalid
from vms.pages import Page, Slice
from vms.passwords import hash_password, matches

type Role = Literal["admin", "guest"]

_LAST_ADMIN = "The last admin of a corporation can neither be deleted nor demoted."

_COLUMNS: LiteralString = (
    "u.seq, u.seq AS target, u.email, u.role, u.corporation_id, u.point, u.created_at, u.updated_at"
)


@dataclass(frozen=True, slots=True)
class User:
    """A member of a corporation, and the points that viewing has earned it."""

    id: int
    email: str
    role: Role
    corporation_id: int
    point: int
    created_at: datetime
    updated_at: datetime


def _user(row: Row) -> User:
    return User(
        row["seq"],
        row["email"],
        row["role"],
        row["corporation_id"],
        row["point"],
        row["created_at"],
        row["updated_at"],
    )


def create(caller: Caller, email: str, password: str, role: Role, corporation_id: int | None) -> User:
    """Add a member to the caller's corporation, with 0 points.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: the caller is no admin.
        Conflict: a live user of the service has this e-mail address.
    """
    parameters = {**caller.parameters, "corporation_id": corporation_id}
    target: LiteralString = """target AS (
        SELECT c.seq FROM caller JOIN corporation c ON c.seq = caller.corporation_id
        WHERE (%(corporation_id)s::bigint IS NULL OR c.seq = %(corporation_id)s) AND c.deleted_at IS NULL"""
    # Asked before the password is hashed, so that a caller who may not cannot make the server work for 0.25 s.
    permit(
        caller,
        database.fetch_one(
            f"""WITH {CALLER}, {target})
            SELECT caller.role AS caller_role, target.seq AS target FROM caller LEFT JOIN target ON true""",
            parameters,
        ),
    )
    try:
        row = database.fetch_one(
            # FOR SHARE: a corporation that is being deleted is waited for, and then gets no member.
            f"""WITH {CALLER}, {target} FOR SHARE OF c), made AS (
                INSERT INTO "user" (email, password, role, corporation_id)
                SELECT %(email)s, %(password)s, %(role)s, target.seq FROM target, caller WHERE {PERMITTED}
                RETURNING *
            )
            SELECT caller.role AS caller_role, {_COLUMNS} FROM caller LEFT JOIN made u ON true""",
            {**parameters, "email": email, "password": hash_password(password), "role": role},
        )
    except psycopg.errors.UniqueViolation as taken:
        raise taken_conflict(taken) from None
    return _user(permit(caller, row))


def me(caller: Caller) -> User:
    """The caller itself."""
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, {_COLUMNS} FROM caller JOIN "user" u ON u.seq = caller.seq""",
        caller.parameters,
    )
    return _user(permit(caller, row))


def get(caller: Caller, user_id: int) -> User:
    """A member of the caller's corporation, by id.

    Raises:
        NotFound: there is no such member.
        Forbidden: it is somebody else, and the caller is no admin.
    """
    return _get(caller, {"id": user_id, "email": None})


def get_by_email(caller: Caller, email: str) -> User:
    """A member of the caller's corporation, by e-mail address in any case. Raises as `get` does."""
    return _get(caller, {"id": None, "email": email})


def _get(caller: Caller, which: dict[str, object]) -> User:
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, {_COLUMNS} FROM caller
        LEFT JOIN "user" u ON u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
            AND CASE WHEN %(id)s::bigint IS NULL THEN lower(u.email) = lower(%(email)s) ELSE u.seq = %(id)s END""",
        {**caller.parameters, **which},
    )
    row = permit(caller, row, owner=row["seq"] if row else None)
    return _user(row)


def browse(caller: Caller, part: Slice) -> Page[User]:
    """A page of the corporation's members. Raises `Forbidden` when the caller is no admin."""
    rows = database.fetch_all(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, u.*, true AS target FROM caller LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM "user" u
            WHERE u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL AND u.seq < %(before)s
            ORDER BY u.seq DESC LIMIT %(limit)s
        ) u ON true ORDER BY u.seq DESC""",
        {**caller.parameters, **part.parameters},
    )
    permit(caller, rows[0] if rows else None)
    return part.page(rows, _user)


def change(caller: Caller, user_id: int, password: str | None, role: Role | None, current_password: str | None) -> User:
    """Change a member's password (which revokes its sessions), its role, or both; None leaves one as it is.

    Raises:
        NotFound: the caller's corporation has no such member.
        Forbidden: it is somebody else or a role, and the caller is no admin.
        Invalid: the caller's own password changes, and `current_password` is missing or wrong.
        TooManyAttempts: that was tried too often.
        Conflict: the last admin would be demoted.
    """
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, u.seq AS target, u.password, u.email FROM caller
        LEFT JOIN "user" u ON u.seq = %(id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL""",
        {**caller.parameters, "id": user_id},
    )
    row = permit(caller, row, owner=user_id)
    if role is not None and row["caller_role"] != "admin":
        raise Forbidden("Only an admin may change a role.")
    if password is not None and user_id == caller.user_id:
        _prove_own_password(user_id, current_password, row["password"])
    return _change(caller, user_id, hash_password(password) if password is not None else None, role)


def _prove_own_password(user_id: int, given: str | None, stored: str) -> None:
    if given is None:
        raise Invalid([("current_password", "is required to change one's own password")])
    subjects = [attempts.subject("password", str(user_id))]
    attempts.check(subjects)
    if not matches(given, stored):
        attempts.record_failure(subjects)
        raise Invalid([("current_password", "is not the current password")])


def _change(caller: Caller, user_id: int, password: str | None, role: Role | None) -> User:
    with database.transaction():
        _lock_corporation(caller)
        row = database.fetch_one(
            f"""WITH {CALLER}, target AS (
                SELECT u.seq, {_IS_LAST_ADMIN} AS last_admin FROM caller
                JOIN "user" u ON u.seq = %(id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
            ), changed AS (
                UPDATE "user" u SET password = coalesce(%(password)s, u.password), role = coalesce(%(role)s, u.role),
                                    updated_at = now()
                FROM target, caller
                WHERE u.seq = target.seq AND (caller.role = 'admin' OR (u.seq = caller.seq AND %(role)s::text IS NULL))
                  AND NOT (target.last_admin AND coalesce(%(role)s, 'admin') <> 'admin')
                RETURNING u.*
            ), revoked AS (
                UPDATE refresh_token t SET revoked_at = now() FROM changed
                WHERE t.user_id = changed.seq AND %(password)s::text IS NOT NULL AND t.revoked_at IS NULL
            )
            SELECT caller.role AS caller_role, u.seq, u.email, u.role, u.corporation_id, u.point, u.created_at, u.updated_at,
                   target.seq AS target, target.last_admin
            FROM caller LEFT JOIN target ON true LEFT JOIN changed u ON true""",
            {**caller.parameters, "id": user_id, "password": password, "role": role},
        )
        return _user(_unless_last_admin(permit(caller, row, owner=user_id)))


def delete(caller: Caller, user_id: int) -> None:
    """Delete a member, softly: its tokens stop working at once and its e-mail address becomes free.

    Raises:
        NotFound: the caller's corporation has no such member.
        Forbidden: it is somebody else, and the caller is no admin.
        Conflict: it is the last admin.
    """
    with database.transaction():
        _lock_corporation(caller)
        row = database.fetch_one(
            f"""WITH {CALLER}, target AS (
                SELECT u.seq, {_IS_LAST_ADMIN} AS last_admin FROM caller
                JOIN "user" u ON u.seq = %(id)s AND u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL
            ), changed AS (
                UPDATE "user" u SET deleted_at = now(), updated_at = now() FROM target, caller
                WHERE u.seq = target.seq AND (caller.role = 'admin' OR u.seq = caller.seq) AND NOT target.last_admin
                RETURNING u.seq
            ), revoked AS (
                UPDATE refresh_token t SET revoked_at = now() FROM changed WHERE t.user_id = changed.seq AND t.revoked_at IS NULL
            )
            SELECT caller.role AS caller_role, changed.seq, target.seq AS target, target.last_admin
            FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
            {**caller.parameters, "id": user_id},
        )
        _unless_last_admin(permit(caller, row, owner=user_id))


# Wants "user" as u, and the corporation locked, so that two admins cannot remove each other at the same time.
_IS_LAST_ADMIN: LiteralString = """(u.role = 'admin' AND NOT EXISTS (
    SELECT 1 FROM "user" o
    WHERE o.corporation_id = u.corporation_id AND o.role = 'admin' AND o.deleted_at IS NULL AND o.seq <> u.seq
))"""


def _lock_corporation(caller: Caller) -> None:
    database.fetch_one(
        "SELECT seq FROM corporation WHERE seq = %(caller_corporation)s FOR NO KEY UPDATE", caller.parameters
    )


def _unless_last_admin(row: Row) -> Row:
    if row["seq"] is None:
        if row["last_admin"]:
            raise Conflict(_LAST_ADMIN)
        raise Forbidden  # its role was taken from it since it was asked
    return row
