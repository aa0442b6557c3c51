"""Users: the members of a corporation, at least one of them an admin."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

from vms import database
from vms.auth import Caller
from vms.canonical import email_key
from vms.database import Parameters, Row, Taken
from vms.domain import answers, attempts
from vms.domain.access import CALLER, OWN_CORPORATION, OWN_USER, PERMITTED, SELF, parameters, permit, read, read_all
from vms.domain.corporations import taken_conflict
from vms.errors import Conflict, Forbidden, Invalid
from vms.idempotency import IdempotencyKey
from vms.pages import Page, Slice
from vms.passwords import hash_password, matches

type Role = Literal["admin", "guest"]

_LAST_ADMIN = "The last admin of a corporation can neither be deleted nor demoted."

_COLUMNS: LiteralString = "u.seq, u.email, u.role, u.corporation_id, u.point, u.created_at, u.updated_at"


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


# The corporation that a new member is for, if it is the caller's.
_NEW_IN: LiteralString = f"""corporation c ON {OWN_CORPORATION}
    AND (%(corporation_id)s::bigint IS NULL OR c.seq = %(corporation_id)s)"""


def create(
    caller: Caller,
    email: str,
    password: str,
    role: Role,
    corporation_id: int | None,
    key: IdempotencyKey | None = None,
) -> User:
    """Add a member to the caller's corporation, with 0 points; under a key once, raising as `answers.once` does.

    Raises:
        NotFound: `corporation_id` is given and another's.
        Forbidden: the caller is not an admin.
        Conflict: a live user of the service has this e-mail address.
    """
    answers.recall(key, caller)
    # Asked before the password is hashed, so that a caller who may not cannot make the server work for 0.25 s.
    read(caller, "c.seq AS target", f"LEFT JOIN {_NEW_IN}", {"corporation_id": corporation_id})
    given = {
        **parameters(caller),
        "corporation_id": corporation_id,
        "email": email,
        "email_key": email_key(email),
        "password": hash_password(password),
        "role": role,
    }
    try:
        return answers.once(key, caller, lambda: _insert(caller, given))
    except Taken as taken:
        raise taken_conflict(taken) from None


def _insert(caller: Caller, given: Parameters) -> User:
    row = database.fetch_one(
        # FOR KEY SHARE: a corporation that is being deleted is waited for, and then gets no member.
        f"""WITH {CALLER}, target AS (
            SELECT c.seq, NULL::bigint AS owner FROM caller JOIN {_NEW_IN} FOR KEY SHARE OF c
        ), made AS (
            INSERT INTO "user" AS u (email, email_key, password, role, corporation_id)
            SELECT %(email)s, %(email_key)s, %(password)s, %(role)s, target.seq FROM target, caller WHERE {PERMITTED}
            RETURNING {_COLUMNS}
        )
        SELECT caller.role AS caller_role, u.seq AS target, {_COLUMNS} FROM caller LEFT JOIN made u ON true""",
        given,
    )
    return _user(permit(caller, row))


def me(caller: Caller) -> User:
    """The caller itself."""
    return _user(read(caller, f"u.seq AS target, {_COLUMNS}", f'JOIN "user" u ON {OWN_USER} AND {SELF}', {}))


def get(caller: Caller, user_id: int) -> User:
    """A member of the caller's corporation, by id.

    Raises:
        NotFound: there is no such member.
        Forbidden: it is somebody else, and the caller is not an admin.
    """
    return _get(caller, "u.seq = %(id)s", {"id": user_id})


def get_by_email(caller: Caller, email: str) -> User:
    """A member of the caller's corporation, by e-mail address in any spelling. Raises as `get` does."""
    return _get(caller, "u.email_key = %(key)s", {"key": email_key(email)})


def _get(caller: Caller, which: LiteralString, given: dict[str, object]) -> User:
    joins: LiteralString = f'LEFT JOIN "user" u ON {OWN_USER} AND {which}'
    return _user(read(caller, f"u.seq AS target, {_COLUMNS}", joins, given, owner="u.seq"))


def browse(caller: Caller, part: Slice) -> Page[User]:
    """A page of the corporation's members. Raises `Forbidden` when the caller is not an admin."""
    rows = read_all(
        caller,
        f"caller.corporation_id AS target, {_COLUMNS}",
        f"""LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM "user" u WHERE {OWN_USER} AND (u.seq + 0) < %(before)s
            ORDER BY (u.seq + 0) DESC LIMIT %(limit)s
        ) u ON true ORDER BY u.seq DESC""",
        part.parameters,
    )
    return part.page(rows, _user)


def change(caller: Caller, user_id: int, password: str | None, role: Role | None, current_password: str | None) -> User:
    """Change a member's password, its role, or both; None leaves one as it is.

    A new password revokes the member's sessions and playback URLs.

    Raises:
        NotFound: the caller's corporation has no such member.
        Forbidden: it is somebody else or a role, and the caller is not an admin.
        Invalid: the caller's own password changes, and `current_password` is missing or wrong.
        TooManyAttempts: that was tried too often.
        Conflict: the last admin would be demoted.
    """
    row = read(
        caller,
        "u.seq AS target, u.password, u.epoch",
        f'LEFT JOIN "user" u ON {OWN_USER} AND u.seq = %(id)s',
        {"id": user_id},
        owner="u.seq",
    )
    if role is not None and row["caller_role"] != "admin":
        raise Forbidden("Only an admin may change a role.")
    epoch = None
    if password is not None and user_id == caller.user_id:
        _prove_own_password(user_id, current_password, row["password"])
        epoch = row["epoch"]
    return _change(caller, user_id, hash_password(password) if password is not None else None, role, epoch)


def _prove_own_password(user_id: int, given: str | None, stored: str) -> None:
    if given is None:
        raise Invalid([("current_password", "is required to change one's own password")])
    subjects = [attempts.subject("password", str(user_id))]
    attempts.check(subjects)
    if not matches(given, stored):
        attempts.record_failure(subjects)
        raise _not_current()


def _not_current() -> Invalid:
    return Invalid([("current_password", "is not the current password")])


def _change(caller: Caller, user_id: int, password: str | None, role: Role | None, epoch: int | None) -> User:
    """`epoch` is that in which the caller proved its password; another one means that the proof is void."""
    with database.transaction():
        _lock(caller, user_id)
        row = database.fetch_one(
            f"""WITH {CALLER}, {_TARGET}, changed AS (
                UPDATE "user" u SET password = coalesce(%(password)s, u.password), role = coalesce(%(role)s, u.role),
                                    epoch = u.epoch + (%(password)s::text IS NOT NULL)::int, updated_at = now()
                FROM target, caller
                WHERE u.seq = target.seq AND {PERMITTED} AND (caller.role = 'admin' OR %(role)s::text IS NULL)
                  AND target.epoch = coalesce(%(epoch)s, target.epoch)
                  AND NOT (target.last_admin AND coalesce(%(role)s, 'admin') <> 'admin')
                RETURNING {_COLUMNS}
            ), revoked AS (
                UPDATE refresh_token t SET revoked_at = now() FROM changed
                WHERE t.user_id = changed.seq AND %(password)s::text IS NOT NULL AND t.revoked_at IS NULL
            )
            SELECT caller.role AS caller_role, target.seq AS target, target.owner, target.last_admin, target.epoch,
                   {_COLUMNS}
            FROM caller LEFT JOIN target ON true LEFT JOIN changed u ON true""",
            {**parameters(caller), "id": user_id, "password": password, "role": role, "epoch": epoch},
        )
    row = permit(caller, row)
    if epoch is not None and row["epoch"] != epoch:
        raise _not_current()
    return _user(_unless_last_admin(row))


def delete(caller: Caller, user_id: int) -> None:
    """Delete a member, softly: its tokens stop working at once and its e-mail address becomes free.

    Raises:
        NotFound: the caller's corporation has no such member.
        Forbidden: it is somebody else, and the caller is not an admin.
        Conflict: it is the last admin.
    """
    with database.transaction():
        _lock(caller, user_id)
        row = database.fetch_one(
            f"""WITH {CALLER}, {_TARGET}, changed AS (
                UPDATE "user" u SET deleted_at = now(), updated_at = now() FROM target, caller
                WHERE u.seq = target.seq AND {PERMITTED} AND NOT target.last_admin
                RETURNING u.seq
            ), revoked AS (
                UPDATE refresh_token t SET revoked_at = now()
                FROM changed WHERE t.user_id = changed.seq AND t.revoked_at IS NULL
            )
            SELECT caller.role AS caller_role, target.seq AS target, target.owner, target.last_admin, changed.seq
            FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
            {**parameters(caller), "id": user_id},
        )
    _unless_last_admin(permit(caller, row))


# The member to change, and whether it is the last admin.
_TARGET: LiteralString = f"""target AS (
    SELECT u.seq, u.epoch, u.seq AS owner, u.role = 'admin' AND NOT EXISTS (
        SELECT FROM "user" o
        WHERE o.corporation_id = u.corporation_id AND o.role = 'admin' AND o.deleted_at IS NULL AND o.seq <> u.seq
    ) AS last_admin
    FROM caller JOIN "user" u ON {OWN_USER} AND u.seq = %(id)s
)"""


def _lock(caller: Caller, user_id: int) -> None:
    """Lock the caller's corporation, so that two admins cannot remove each other at the same time, then the user.

    The statement after it has a snapshot of its own: what it revokes includes the sessions that began before the lock
    was had.
    """
    database.fetch_one(
        """WITH company AS MATERIALIZED (SELECT seq FROM corporation WHERE seq = %(company)s FOR NO KEY UPDATE)
        SELECT u.seq FROM company JOIN "user" u ON u.corporation_id = company.seq AND u.seq = %(id)s
        FOR NO KEY UPDATE OF u""",
        {"company": caller.corporation_id, "id": user_id},
    )


def _unless_last_admin(row: Row) -> Row:
    if row["seq"] is None:
        if row["last_admin"]:
            raise Conflict(_LAST_ADMIN)
        raise Forbidden  # the caller's role was taken from it after the first look
    return row
