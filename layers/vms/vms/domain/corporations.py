"""Corporations and their plans."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

from vms import database
from vms.auth import Caller
from vms.canonical import email_key, name_key
from vms.database import Parameters, Row, Taken
from vms.domain import answers
from vms.domain.access import CALLER, OWN_CORPORATION, PERMITTED, parameters, permit, read
from vms.errors import Conflict, Invalid, PlanManaged
from vms.idempotency import IdempotencyKey
from vms.pages import Page, Slice
from vms.passwords import hash_password
from vms.settings import settings

type Plan = Literal["FREE", "PAID"]

# Rights follow the plan as it is at this moment, whether or not the expiry job has run. Wants corporation as c.
EFFECTIVELY_PAID: LiteralString = "(c.plan_type = 'PAID' AND (c.plan_expired_at IS NULL OR c.plan_expired_at > now()))"

_COLUMNS: LiteralString = "c.seq, c.name, c.plan_type, c.plan_expired_at, c.created_at, c.updated_at"


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
    name: str,
    plan: Plan,
    plan_expire_at: datetime | None,
    admin_email: str,
    admin_password: str,
    key: IdempotencyKey | None = None,
) -> Corporation:
    """Make a corporation and its first admin, both or neither; under a key once, raising as `answers.once` does.

    Raises:
        Conflict: the name or the e-mail address is taken.
        Invalid: a FREE plan has no expiry.
        PlanManaged: it asks for PAID or for an expiry, and plans are the operator's.
    """
    managed = settings().plans_are_managed and (plan == "PAID" or plan_expire_at is not None)
    if plan == "FREE" and plan_expire_at is not None and not managed:
        raise _free_never_expires()
    answers.recall(key, None)
    if managed:
        raise PlanManaged
    given = {
        "name": name,
        "name_key": name_key(name),
        "plan": plan,
        "expiry": plan_expire_at,
        "email": admin_email,
        "email_key": email_key(admin_email),
        "password": hash_password(admin_password),
    }
    try:
        return answers.once(key, None, lambda: _insert(given))
    except Taken as taken:
        raise taken_conflict(taken) from None


def _insert(given: Parameters) -> Corporation:
    row = database.fetch_one(
        f"""WITH made AS (
            INSERT INTO corporation AS c (name, name_key, plan_type, plan_expired_at)
            VALUES (%(name)s, %(name_key)s, %(plan)s, %(expiry)s) RETURNING {_COLUMNS}
        ), admin AS (
            INSERT INTO "user" (email, email_key, password, role, corporation_id)
            SELECT %(email)s, %(email_key)s, %(password)s, 'admin', made.seq FROM made
        )
        SELECT {_COLUMNS} FROM made c""",
        given,
    )
    assert row is not None  # noqa: S101 - an INSERT … RETURNING gives its row or raises
    return _corporation(row)


def get(caller: Caller, corporation_id: int) -> Corporation:
    """The caller's own corporation, by its id. Raises `NotFound` for any other."""
    return _get(caller, corporation_id=corporation_id)


def get_by_name(caller: Caller, name: str) -> Corporation:
    """The caller's own corporation, by its name in any case. Raises `NotFound` for any other."""
    return _get(caller, key=name_key(name))


def browse(caller: Caller, part: Slice) -> Page[Corporation]:
    """The caller's own corporation: a page of one, and nothing beyond it."""
    own = _get(caller)
    return Page([own] if own.id < part.before else [], None)


def _get(caller: Caller, *, corporation_id: int | None = None, key: str | None = None) -> Corporation:
    row = read(
        caller,
        f"c.seq AS target, {_COLUMNS}",
        f"""LEFT JOIN corporation c ON {OWN_CORPORATION}
            AND c.seq = coalesce(%(id)s, c.seq) AND c.name_key = coalesce(%(key)s, c.name_key)""",
        {"id": corporation_id, "key": key},
    )
    return _corporation(row)


_CHANGE: LiteralString = f"""WITH {CALLER}, target AS (
    SELECT c.seq, NULL::bigint AS owner, NOT %(managed)s AND (
        NOT %(expiry_given)s OR %(plan)s::text IS NOT NULL OR {EFFECTIVELY_PAID}
    ) AS valid
    FROM caller JOIN corporation c ON {OWN_CORPORATION} AND c.seq = %(id)s
), changed AS (
    UPDATE corporation c SET
        name = coalesce(%(name)s, c.name),
        name_key = coalesce(%(name_key)s, c.name_key),
        plan_type = coalesce(%(plan)s::text, c.plan_type),
        plan_expired_at = CASE WHEN coalesce(%(plan)s::text, c.plan_type) = 'FREE' THEN NULL
                               WHEN %(expiry_given)s THEN %(expiry)s::timestamptz
                               WHEN %(plan)s::text = 'PAID' AND NOT {EFFECTIVELY_PAID} THEN NULL
                               ELSE c.plan_expired_at END,
        updated_at = now()
    FROM target, caller WHERE c.seq = target.seq AND {OWN_CORPORATION} AND {PERMITTED} AND target.valid
    RETURNING {_COLUMNS}
)
SELECT caller.role AS caller_role, target.valid, target.seq AS target, {_COLUMNS}
FROM caller LEFT JOIN target ON true LEFT JOIN changed c ON true"""


def change(caller: Caller, corporation_id: int, fields: dict[str, object]) -> Corporation:
    """Change the `name`, `plan` and `plan_expire_at` that `fields` has, and nothing else.

    FREE clears the expiry. PAID leaves an effectively PAID plan's expiry as it is and gives any other plan a new one:
    the expiry that is sent, or none.

    Raises:
        NotFound: it is another's.
        Forbidden: the caller is not an admin.
        Conflict: the name is taken.
        Invalid: an expiry without a PAID plan.
        PlanManaged: it asks for PAID or for an expiry, and plans are the operator's.
    """
    plan, name = fields.get("plan"), fields.get("name")
    managed = settings().plans_are_managed and (plan == "PAID" or "plan_expire_at" in fields)
    if plan == "FREE" and fields.get("plan_expire_at") is not None and not managed:
        raise _free_never_expires()
    try:
        row = database.fetch_one(
            _CHANGE,
            {
                **parameters(caller),
                "id": corporation_id,
                "name": name,
                "name_key": name_key(str(name)) if name is not None else None,
                "plan": plan,
                "expiry": fields.get("plan_expire_at"),
                "expiry_given": "plan_expire_at" in fields,
                "managed": managed,
            },
        )
    except Taken as taken:
        raise taken_conflict(taken) from None
    row = permit(caller, row)
    if managed:
        raise PlanManaged
    if not row["valid"]:
        raise _free_never_expires()
    return _corporation(permit(caller, {**row, "target": row["seq"]}))  # null if it was deleted at the same time


def delete(caller: Caller, corporation_id: int) -> None:
    """Delete the caller's corporation, softly, with its users, their sessions and its videos.

    The names and the e-mail addresses become free.

    Raises:
        NotFound: it is another's.
        Forbidden: the caller is not an admin.
    """
    with database.transaction():
        # The lock first, then a statement with a snapshot of its own: a user or video that is being added meanwhile
        # goes too.
        database.fetch_one("SELECT seq FROM corporation WHERE seq = %(id)s FOR UPDATE", {"id": caller.corporation_id})
        row = database.fetch_one(
            f"""WITH {CALLER}, target AS (
                SELECT c.seq, NULL::bigint AS owner
                FROM caller JOIN corporation c ON {OWN_CORPORATION} AND c.seq = %(id)s
            ), gone AS (
                UPDATE corporation c SET deleted_at = now(), updated_at = now()
                FROM target, caller WHERE c.seq = target.seq AND {PERMITTED} RETURNING c.seq
            ), users AS (
                UPDATE "user" u SET deleted_at = now(), updated_at = now()
                FROM gone WHERE u.corporation_id = gone.seq AND u.deleted_at IS NULL RETURNING u.seq
            ), videos AS (
                UPDATE video v SET deleted = true, updated_at = now()
                FROM gone WHERE v.corporation_id = gone.seq AND NOT v.deleted
            ), revoked AS (
                UPDATE refresh_token t SET revoked_at = now()
                FROM users WHERE t.user_id = users.seq AND t.revoked_at IS NULL
            )
            SELECT caller.role AS caller_role, target.seq AS target FROM caller LEFT JOIN target ON true""",
            {**parameters(caller), "id": corporation_id},
        )
    permit(caller, row)


def expire_plans() -> int:
    """Make every PAID corporation that is past its expiry FREE, in one statement; returns how many.

    Idempotent, concurrent runs are safe.
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


def taken_conflict(taken: Taken) -> Conflict:
    """Say which unique thing is taken, in the caller's words."""
    if taken.constraint == "uq_user_email":
        return Conflict("This e-mail address is taken.")
    return Conflict("This corporation name is taken.")


def _free_never_expires() -> Invalid:
    return Invalid([("plan_expire_at", "needs a PAID plan")])
