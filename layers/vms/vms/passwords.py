"""Passwords, by bcrypt. Takes no password over 72 UTF-8 bytes: bcrypt would not see the rest."""

import secrets
from functools import cache

import bcrypt

from vms.settings import settings

MIN_CHARACTERS = 8
MAX_BYTES = 72


def hash_password(password: str) -> str:
    """The bcrypt hash to store; costs what the setting BCRYPT_COST says (12: about 0.25 s of one core)."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(settings().bcrypt_cost)).decode()


def matches(password: str, stored: str | None) -> bool:
    """Whether this is the password behind `stored`. Without one (an unknown address) it takes as long and says no."""
    given = password.encode("utf-8", "surrogatepass")
    usable = given[:MAX_BYTES] if b"\0" not in given else b"?"
    same = bcrypt.checkpw(usable, (stored or _nobodys()).encode())
    return same and stored is not None and usable == given


@cache
def _nobodys() -> str:
    return hash_password(secrets.token_urlsafe(16))
