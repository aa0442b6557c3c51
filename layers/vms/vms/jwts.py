"""JSON web tokens (RFC 7519), HS256 alone: access, refresh and playback. The type must match the use."""

import secrets
import time
from functools import lru_cache
from typing import Any, Literal

import jwt

from vms import keys
from vms.errors import Unauthenticated
from vms.settings import settings

type TokenType = Literal["access", "refresh", "playback"]
type Claims = dict[str, Any]

# Seconds by which the clocks of two execution environments may differ (`iat`, `nbf`).
LEEWAY = 5
_REQUIRED = ["iss", "aud", "sub", "cid", "role", "typ", "jti", "iat", "exp"]


def issue(typ: TokenType, user_id: int, corporation_id: int, role: str, seconds: int, **extra: int) -> str:
    """Sign a token of this type for this user, valid for so many seconds.

    `extra` claims bind it further (a playback's `vid`).
    """
    kid, key = keys.signing_key()
    config = settings()
    now = int(time.time())
    claims = {
        "iss": config.jwt_issuer,
        "aud": config.jwt_audience,
        "sub": str(user_id),
        "cid": corporation_id,
        "role": role,
        "typ": typ,
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + seconds,
        **extra,
    }
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": kid})


def verify(token: str, typ: TokenType, *, expired_too: bool = False) -> Claims:
    """Check signature, issuer, audience, expiry and type; return the claims with `sub` and `cid` as numbers.

    Which check failed is not told.

    Raises:
        Unauthenticated: the token is broken, foreign, expired (unless `expired_too`) or of another type.
    """
    try:
        claims = _signed(token, keys.generation())
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
        raise Unauthenticated from None
    if claims["typ"] != typ or (claims["exp"] <= time.time() and not expired_too):
        raise Unauthenticated
    return claims


@lru_cache(maxsize=256)
def _signed(token: str, generation: int) -> Claims:  # noqa: ARG001 - new keys make old verdicts void
    """The claims of a token that we signed, of any type and age. Kept, since a caller sends its token many times."""
    key = keys.key_of(jwt.get_unverified_header(token).get("kid"))
    if key is None:
        raise jwt.InvalidTokenError
    config = settings()
    claims: Claims = jwt.decode(
        token,
        key,
        algorithms=["HS256"],
        issuer=config.jwt_issuer,
        audience=config.jwt_audience,
        leeway=LEEWAY,
        options={"require": _REQUIRED, "verify_exp": False},
    )
    if type(claims["cid"]) is not int or type(claims["exp"]) is not int:  # neither 1e400, which is infinite, nor true
        raise jwt.InvalidTokenError
    return {**claims, "sub": int(claims["sub"])}
