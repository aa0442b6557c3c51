"""Web pages of other origins: which may read the API's answers, and the headers that tell their browsers so (CORS).

The pages are those of the setting CORS_ORIGINS (https://fetch.spec.whatwg.org/#http-cors-protocol). A page sends a
token itself and there is no cookie, so no answer ever allows credentials.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from vms.settings import settings

# What a client of this API may send beside the fields that every page may send.
_SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, If-Range"
ALLOWED_FIELDS = f"{_SENT}, If-Unmodified-Since, Range"
# What a page may read of an answer beside the fields that every page may read. API Gateway renames WWW-Authenticate.
_READ = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Idempotency-Replayed, Link, Location"
EXPOSED_FIELDS = f"{_READ}, Retry-After, WWW-Authenticate, x-amzn-Remapped-WWW-Authenticate, x-amzn-RequestId"
# Seconds that a browser may keep the answer to a preflight request. Chromium keeps it no longer.
MAX_AGE = 7200


def headers(event: Mapping[str, Any]) -> dict[str, str]:
    """The header fields of every answer to this event (API Gateway REST proxy, version 1.0)."""
    if not settings().cors_origins:
        return {}
    origin = _listed(event)
    if origin is None:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED_FIELDS,
    }


def preflight(event: Mapping[str, Any], methods: Iterable[str]) -> dict[str, str]:
    """The header fields of an answer to OPTIONS, beside those of every answer; `methods` are those of the path."""
    told = ", ".join(methods)
    found = {"Allow": f"{told}, OPTIONS"}  # RFC 9110 section 9.3.7
    if _listed(event) is not None:
        found |= {
            "Access-Control-Allow-Methods": told,
            "Access-Control-Allow-Headers": ALLOWED_FIELDS,
            "Access-Control-Max-Age": str(MAX_AGE),
        }
    return found


def _listed(event: Mapping[str, Any]) -> str | None:
    """The event's one Origin, if the setting lists it, byte by byte as browsers compare it.

    None without one, with several, and with "null".
    """
    lines = event.get("multiValueHeaders") or {name: [value] for name, value in (event.get("headers") or {}).items()}
    given = [value for name, values in lines.items() if name.lower() == "origin" for value in values]
    if len(given) != 1 or "*" in given[0]:
        return None
    (origin,), listed = given, settings().cors_origins
    host, _, port = origin.rpartition(":")
    any_port = f"{host}:*" if port.isascii() and port.isdigit() else f"{origin}:*"
    return origin if origin in listed or any_port in listed else None
