"""Who calls: the caller whom a token names, and who may use a route.

Whether that user still exists, `vms.domain.access` checks in the database.
"""

from dataclasses import dataclass
from enum import Enum

from vms import jwts
from vms.errors import Unauthenticated


class Who(Enum):
    """Who may use a route."""

    ANONYMOUS = "anonymous"
    MEMBER = "any"
    ADMIN = "admin"
    ADMIN_OR_SELF = "admin, or self"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a checked token names, on a route that declares `who`. `epoch` is that of a playback token."""

    user_id: int
    corporation_id: int
    who: Who
    epoch: int | None = None


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


def authenticate_playback(token: str, video_id: int) -> tuple[Caller, bool]:
    """The caller whom a playback token of this video names, and whether its ranges may be answered by slices.

    Raises:
        Unauthenticated: it is not a valid playback token of this video.
    """
    claims = jwts.verify(token, "playback")
    vid, epoch = claims.get("vid"), claims.get("epoch")
    if type(vid) is not int or vid != video_id or type(epoch) is not int:  # True is an int, and equals 1
        raise Unauthenticated
    return Caller(claims["sub"], claims["cid"], Who.MEMBER, epoch), claims.get("slices") is True
