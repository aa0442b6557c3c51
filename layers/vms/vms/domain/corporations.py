"""Corporations and their plans."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

import psycopg.errors

from vms import database
from vms.auth import CALLER, PERMITTED, Caller, permit
from vms.database import Row
from vms.errors import Conflict
from vms.pages import Page, Slice
from vms.passwords import hash_password

type Plan = Literal["FREE", "PAID"]

# Rights follow the plan as it is at this moment, whether or not the expiry job has run. Wants corporation as c.
EFFECTIVELY_PAID: LiteralString = "(c.plan_type = 'PAID' AND (c.plan_expired_at IS NULL OR c.plan_expired_at > now()))"


@dataclass(frozen=True, slots=True)
class Corporation:
    """A company and its plan; `plan_expire_at` is null for FREE, and for a PAID plan without an end."""

    id: int
    name: str
    plan: Plan
    plan_expire_at: datetime | None
    created_at: datetime
    updated_at: datetime


def _corporation(row: Row) -> Corporation:
    return Corporation(
        row["seq"], row["name"], row["plan_type"], row["plan_expired_at"], row["created_at"], row["updated_at"]
    )


def sign_up(
    name: str, plan: Plan, plan_expire_at: datetime | None, admin_email: str, admin_password: str
) -> Corporation:
    """Make a corporation and its first admin, both or neither.

    Raises:
        Conflict: the name or the e-mail address is taken.
    """
    hashed = hash_password(admin_password)
    try:
        row = database.fetch_one(
            """WITH made AS (
                INSERT INTO corporation (name, plan_type, plan_expired_at) VALUES (%(name)s, %(plan)s, %(expiry)s) RETURNING *
            ), admin AS (
                INSERT INTO "user" (email, password, role, corporation_id)
                SELECT %(email)s, %(password)s, 'admin', made.seq FROM made
            )
            SELECT * FROM made""",
            {
                "name": name,
                "plan": plan,
                "expiry": plan_expire_at if plan == "PAID" else None,
                "email": admin_email,
                "password": hashed,
            },
        )
    except psycopg.errors.UniqueViolation as taken:
        raise taken_conflict(taken) from None
    assert row is not None  # noqa: S101 - an INSERT … RETURNING gives its row or raises
    return _corporation(row)


def get(caller: Caller, corporation_id: int) -> Corporation:
    """The caller's own corporation, by its id. Raises `NotFound` for any other."""
    return _get(caller, {"id": corporation_id, "name": None})


def get_by_name(caller: Caller, name: str) -> Corporation:
    """The caller's own corporation, by its name. Raises `NotFound` for any other."""
    return _get(caller, {"id": None, "name": name})


def browse(caller: Caller, part: Slice) -> Page[Corporation]:
    """The caller's own corporation: a page of one, and nothing beyond it."""
    own = _get(caller, {"id": None, "name": None})
    return Page([own] if own.id < part.before else [], None)


def _get(caller: Caller, which: dict[str, object]) -> Corporation:
    row = database.fetch_one(
        f"""WITH {CALLER}
        SELECT caller.role AS caller_role, c.seq AS target, c.* FROM caller
        LEFT JOIN corporation c ON c.seq = caller.corporation_id
            AND c.seq = coalesce(%(id)s, c.seq) AND c.name = coalesce(%(name)s, c.name)""",
        {**caller.parameters, **which},
    )
    return _corporation(permit(caller, row))


def change(caller: Caller, corporation_id: int, fields: dict[str, object]) -> Corporation:
    """Change the `name`, `plan` and `plan_expire_at` that `fields` has, and nothing else; FREE clears the expiry.

    Raises:
        NotFound: it is another's.
        Forbidden: the caller is no admin.
        Conflict: the name is taken.
    """
    try:
        row = database.fetch_one(
            f"""WITH {CALLER}, target AS (
                SELECT corporation_id AS seq FROM caller WHERE corporation_id = %(id)s
            ), changed AS (
                UPDATE corporation c SET
                    name = coalesce(%(name)s, c.name),
                    plan_type = coalesce(%(plan)s, c.plan_type),
                    plan_expired_at = CASE WHEN coalesce(%(plan)s, c.plan_type) = 'FREE' THEN NULL
                                           WHEN %(expiry_given)s THEN %(expiry)s::timestamptz
                                           ELSE c.plan_expired_at END,
                    updated_at = now()
                FROM target, caller WHERE c.seq = target.seq AND c.deleted_at IS NULL AND {PERMITTED}
                RETURNING c.*
            )
            SELECT caller.role AS caller_role, changed.*, coalesce(changed.seq, target.seq) AS target
            FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true""",
            {
                **caller.parameters,
                "id": corporation_id,
                "name": fields.get("name"),
                "plan": fields.get("plan"),
                "expiry": fields.get("plan_expire_at"),
                "expiry_given": "plan_expire_at" in fields,
            },
        )
    except psycopg.errors.UniqueViolation as taken:
        raise taken_conflict(taken) from None
    return _corporation(permit(caller, row))


def delete(caller: Caller, corporation_id: int) -> None:
    """Delete the caller's corporation, softly, and with it its users, their sessions and its videos; names and addresses become free.

    Raises:
        NotFound: it is another's.
        Forbidden: the caller is no admin.
    """
    with database.transaction():
        row = database.fetch_one(
            # The lock, and the statement after it with a snapshot of its own, so that a user who is being added meanwhile goes too.
            f"""WITH {CALLER}
            SELECT caller.role AS caller_role, c.seq AS target FROM caller
            LEFT JOIN LATERAL (
                SELECT seq FROM corporation WHERE seq = caller.corporation_id AND seq = %(id)s AND deleted_at IS NULL FOR UPDATE
            ) c ON true""",
            {**caller.parameters, "id": corporation_id},
        )
        permit(caller, row)
        database.fetch_all(
            """WITH gone AS (
                UPDATE corporation SET deleted_at = now(), updated_at = now() WHERE seq = %(id)s
            ), users AS (
                UPDATE "user" SET deleted_at = now(), updated_at = now()
                WHERE corporation_id = %(id)s AND deleted_at IS NULL RETURNING seq
            ), videos AS (
                UPDATE video SET deleted = true, updated_at = now() WHERE corporation_id = %(id)s AND NOT deleted
            )
            UPDATE refresh_token SET revoked_at = now() FROM users WHERE user_id = users.seq AND revoked_at IS NULL""",
            {"id": corporation_id},
        )


def expire_plans() -> int:
    """Make every PAID corporation that is past its expiry FREE, in one statement; returns how many.

    May run twice, or at the same time with itself: whoever comes second finds nothing left to do.
    """
    row = database.fetch_one(
        """WITH expired AS (
            UPDATE corporation SET plan_type = 'FREE', plan_expired_at = NULL, updated_at = now()
            WHERE plan_type = 'PAID' AND plan_expired_at <= now() RETURNING seq
        )
        SELECT count(*) AS expired FROM expired""",
        {},
    )
    return int(row["expired"]) if row else 0


def taken_conflict(violation: psycopg.errors.UniqueViolation) -> Conflict:
    """Say which unique thing is taken, in the caller's words."""
    if violation.diag.constraint_name == "uq_user_email":
        return Conflict("This e-mail address is taken.")
    return Conflict("This corporation name is taken.")
