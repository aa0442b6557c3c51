"""Who calls, and who may: each route declares its `Who`, and each statement holds its caller to it.

The token says who the caller claims to be; the database says whether that user still lives and what its role is now. Both
are checked in the domain function's own statement, which begins with `CALLER`, so that checking costs no round trip of its own::

    WITH caller AS (…CALLER…), target AS (…)
    SELECT caller.role AS caller_role, target.seq AS target, … FROM caller LEFT JOIN target ON true

`permit` reads such a row: no row is 401, no target is 404, a role that is not enough is 403, in this order, so that what belongs to
another corporation looks to everybody as if it did not exist.
"""

from dataclasses import dataclass
from enum import Enum
from typing import LiteralString

from vms import jwts
from vms.database import Row
from vms.errors import Forbidden, NotFound, Unauthenticated


class Who(Enum):
    """Who may use a route."""

    ANONYMOUS = "anonymous"
    MEMBER = "any"
    ADMIN = "admin"
    ADMIN_OR_SELF = "admin, or self"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a checked token names, on a route that declares `who`."""

    user_id: int
    corporation_id: int
    who: Who

    @property
    def parameters(self) -> dict[str, object]:
        """What `CALLER` and `PERMITTED` take."""
        return {
            "caller_id": self.user_id,
            "caller_corporation": self.corporation_id,
            "members": self.who is Who.MEMBER,
        }


CALLER: LiteralString = """caller AS (
    SELECT u.seq, u.role, u.corporation_id
    FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
    WHERE u.seq = %(caller_id)s AND u.corporation_id = %(caller_corporation)s
      AND u.deleted_at IS NULL AND c.deleted_at IS NULL
)"""

# For statements that change something: the same rule as `permit`, where nothing may happen before it was asked.
PERMITTED: LiteralString = "(caller.role = 'admin' OR %(members)s)"


def authenticate(authorization: str | None, who: Who) -> Caller:
    """The caller whom an Authorization header's bearer token names (RFC 6750 section 2.1).

    Raises:
        Unauthenticated: there is none, or it is not a valid access token.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    claims = jwts.verify(token.strip(), "access")
    return Caller(claims["sub"], claims["cid"], who)


def authenticate_playback(token: str, video_id: int) -> Caller:
    """The caller whom a playback token names, for this video alone.

    Raises:
        Unauthenticated: it is not a valid playback token of this video.
    """
    claims = jwts.verify(token, "playback")
    if claims.get("vid") != video_id:
        raise Unauthenticated
    return Caller(claims["sub"], claims["cid"], Who.MEMBER)


def permit(caller: Caller, row: Row | None, *, owner: int | None = None) -> Row:
    """Pass on the row of a statement that begins with `CALLER`, if the caller may see it.

    `target`, where the row has it, is the thing's id, None when the caller's corporation has no such thing; `owner` is the user whom the
    thing belongs to, for routes that a user may use on what is its own.

    Raises:
        Unauthenticated: the user or its corporation is gone.
        NotFound: the target is not there for this caller.
        Forbidden: the caller's role does not allow it.
    """
    if row is None:
        raise Unauthenticated
    if row.get("target", True) is None:
        raise NotFound
    may = (
        row["caller_role"] == "admin"
        or caller.who is Who.MEMBER
        or (caller.who is Who.ADMIN_OR_SELF and owner == caller.user_id)
    )
    if not may:
        raise Forbidden
    return row
