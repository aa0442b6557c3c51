"""Passwords, by bcrypt. Takes no password over 72 UTF-8 bytes: bcrypt would not see the rest."""

import secrets

import bcrypt

from vms.canonical import opaque
from vms.settings import settings

MIN_CHARACTERS = 8
MAX_BYTES = 72


def hash_password(password: str) -> str:
    """The bcrypt hash to store; costs what the setting BCRYPT_COST says (12: about 0.25 s of one core)."""
    return bcrypt.hashpw(opaque(password).encode(), bcrypt.gensalt(settings().bcrypt_cost)).decode()


def matches(password: str, stored: str | None, slowest: int = 0) -> bool:
    """Whether this is the password behind `stored` (None: an unknown address, hence never).

    A no takes the same bcrypt work whatever `stored` is: that of one hash of BCRYPT_COST or of `slowest`, the highest
    cost that is stored.
    """
    given = opaque(password).encode("utf-8", "surrogatepass")
    usable = given[:MAX_BYTES] if b"\0" not in given else b"?"
    target = max(settings().bcrypt_cost, slowest)
    if stored is None:
        _work(usable, target)
        return False
    if bcrypt.checkpw(usable, stored.encode()) and usable == given:
        return True
    for cost in range(cost_of(stored), target):  # 2^c + 2^c + 2^(c+1) + … + 2^(target-1) = 2^target
        _work(usable, cost)
    return False


def cost_of(stored: str) -> int:
    """The cost of a bcrypt hash: the logarithm of its rounds."""
    return int(stored[4:6])


def _work(password: bytes, cost: int) -> None:
    """Hash and discard the result: only the time counts."""
    secrets.compare_digest(bcrypt.hashpw(password, b"$2b$%02d$" % cost + b"." * 22), b"")
