"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header), and fingerprints of requests. No I/O.

A key belongs to the caller who sent it. The anonymous have no name, so that all of them share one space of keys; an
answer is still given again only to an equal request, and that of a sign-up holds the password, which no stranger knows
and at which guesses are limited (`vms.domain.answers`). A stranger who happens on a key learns that it was used, and
nothing else.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vms import keys
from vms.errors import Invalid

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

# A structured field's string (RFC 9651 section 3.3.3), without spaces; or what many clients send, the same without
# quotes.
PATTERN = r'"(?:[!#-\[\]-~]|\\["\\]){1,255}"|[!#-~]{1,255}'
_VALUE = re.compile(PATTERN)
_ESCAPED = re.compile(r'\\(["\\])')


class Replayed(Exception):
    """The request was answered before, with this JSON text; nothing was changed now."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key with the request under it.

    Neither the key nor the request can be told from what it holds, but by guessing.
    """

    digest: str
    request: str = field(repr=False)
    serialize: Callable[[object], str] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """What to store of the request: a MAC, because a password could be guessed from a plain hash of its body."""
        kid, secret = keys.signing_key()
        return f"{self._mac(secret)}:{kid}"

    def matches(self, stored: str) -> bool:
        """Whether the stored fingerprint is of an equal request; also after the signing key was rotated."""
        mac, _, kid = stored.partition(":")
        secret = keys.key_of(kid)
        return secret is not None and hmac.compare_digest(mac, self._mac(secret))

    def _mac(self, secret: str) -> str:
        return hmac.digest(secret.encode(), f"idempotency\0{self.request}".encode(), "sha256").hex()


def name_request(
    sent: Sequence[str], user_id: int | None, route: str, body: object, serialize: Callable[[object], str]
) -> IdempotencyKey:
    """The key in these header lines, of this user (None: anonymous), for this route (`POST /path`) and JSON body.

    `serialize` writes an answer down as the caller gets it. Raises as `parse` does.
    """
    whose = "anonymous" if user_id is None else f"user {user_id}"
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return IdempotencyKey(_sha256(f"{whose}\0{parse(sent)}"), _sha256(canonical), serialize)


def parse(sent: Sequence[str]) -> str:
    """The key in these header lines, without its quotes.

    Raises:
        Invalid: there are several, or it is not of 1 to 255 visible ASCII characters.
    """
    value = sent[0].strip(" \t") if len(sent) == 1 else ""
    if not _VALUE.fullmatch(value):
        raise Invalid([(HEADER, "must be one key of 1 to 255 visible ASCII characters, in double quotes or bare")])
    return _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
