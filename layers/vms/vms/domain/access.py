"""Who may see and change what, said once: the fragments that every statement about a company's data is made of.

The token says who the caller claims to be; the database says whether that user still lives and what its role is now.
Both are checked in the domain function's own statement, so that the check costs no round trip of its own::

    WITH {CALLER}, target AS (SELECT … FROM caller JOIN video v ON {OWN_VIDEO} …), changed AS (UPDATE … WHERE … AND
    {PERMITTED} …) SELECT caller.role AS caller_role, target.seq AS target, … FROM caller LEFT JOIN target ON true LEFT
    JOIN changed ON true

`permit` reads a row of such a statement. What belongs to another corporation looks as if it did not exist.
"""

from collections.abc import Mapping
from typing import LiteralString

from vms import database
from vms.auth import Caller, Who
from vms.database import Row
from vms.errors import Forbidden, NotFound, Unauthenticated

# The caller, if it and its corporation are not deleted and its token's epoch, if it has one, is not over.
CALLER: LiteralString = """caller AS (
    SELECT u.seq, u.role, u.corporation_id, u.epoch
    FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
    WHERE u.seq = %(caller_id)s AND u.corporation_id = %(caller_corporation)s
      AND u.deleted_at IS NULL AND c.deleted_at IS NULL AND u.epoch = coalesce(%(caller_epoch)s, u.epoch)
)"""

# What is the caller's corporation's own and not deleted. Conditions on corporation c, "user" u, video v and
# upload up beside caller.
OWN_CORPORATION: LiteralString = "c.seq = caller.corporation_id AND c.deleted_at IS NULL"
OWN_USER: LiteralString = "u.corporation_id = caller.corporation_id AND u.deleted_at IS NULL"
SELF: LiteralString = "u.seq = caller.seq"
OWN_VIDEO: LiteralString = "v.corporation_id = caller.corporation_id AND NOT v.deleted"
OWN_DELETED_VIDEO: LiteralString = "v.corporation_id = caller.corporation_id AND v.deleted"
# What the caller may see of it: an admin also what is in the recycle bin.
SEEN_VIDEO: LiteralString = "v.corporation_id = caller.corporation_id AND (NOT v.deleted OR caller.role = 'admin')"
OWN_UPLOAD: LiteralString = "up.corporation_id = caller.corporation_id"

# Whether the caller's role lets it change `target`, whose `owner` is the user whom it belongs to (null: nobody). The
# same rule as `permit`.
PERMITTED: LiteralString = "(caller.role = 'admin' OR %(members)s OR (%(self)s AND target.owner = caller.seq))"


def parameters(caller: Caller) -> dict[str, object]:
    """What `CALLER` and `PERMITTED` take."""
    return {
        "caller_id": caller.user_id,
        "caller_corporation": caller.corporation_id,
        "caller_epoch": caller.epoch,
        "members": caller.who is Who.MEMBER,
        "self": caller.who is Who.ADMIN_OR_SELF,
    }


def read(
    caller: Caller,
    columns: LiteralString,
    joins: LiteralString,
    given: Mapping[str, object],
    *,
    owner: LiteralString = "NULL::bigint",
) -> Row:
    """The first row of `read_all`."""
    return read_all(caller, columns, joins, given, owner=owner)[0]


def read_all(
    caller: Caller,
    columns: LiteralString,
    joins: LiteralString,
    given: Mapping[str, object],
    *,
    owner: LiteralString = "NULL::bigint",
) -> list[Row]:
    """Run a statement that only reads: `columns` (with `… AS target`) from caller with `joins`, if the caller may.

    `owner` is the column with the user whom the target belongs to, for routes that a user may use on what is its own.
    The rows also have `caller_role`. There is at least one. Raises as `permit` does.
    """
    rows = database.fetch_all(
        f"WITH {CALLER} SELECT caller.role AS caller_role, {owner} AS owner, {columns} FROM caller {joins}",
        {**parameters(caller), **given},
    )
    permit(caller, rows[0] if rows else None)
    return rows


def permit(caller: Caller, row: Row | None) -> Row:
    """Pass on the row of a statement that begins with `CALLER`, if the caller may see it.

    `target` is the thing's id, null when the caller's corporation has no such thing; `owner`, if there is one, the user
    whom it belongs to.

    Raises:
        Unauthenticated: no row: the user or its corporation is gone, or a playback token was revoked.
        NotFound: the row has no `target`, or a null one.
        Forbidden: the caller's role does not allow it.
    """
    if row is None:
        raise Unauthenticated
    if row.get("target") is None:
        raise NotFound
    may = (
        row["caller_role"] == "admin"
        or caller.who is Who.MEMBER
        or (caller.who is Who.ADMIN_OR_SELF and row.get("owner") == caller.user_id)
    )
    if not may:
        raise Forbidden
    return row
