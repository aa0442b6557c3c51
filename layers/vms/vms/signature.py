"""AWS Signature Version 4, without imports that lengthen a cold start. No I/O.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. The tests compare
the signatures with botocore's. botocore's own signer is not used because its import takes longer than most of the
stream function's start.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Keys(Protocol):
    """An access key with its secret and, if it is a temporary one, its session token."""

    @property
    def access_key(self) -> str:
        """The access key id."""

    @property
    def secret_key(self) -> str:
        """The secret access key."""

    @property
    def token(self) -> str | None:
        """The session token; None for long-term keys."""


def sign(
    keys: Keys, service: str, region: str, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> dict[str, str]:
    """All headers to send: the given ones, which are all signed, and those of the signature.

    `url` is percent-encoded. http.client adds Host.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url)
    content = hashlib.sha256(body).hexdigest()
    sent = {**headers, "X-Amz-Date": now}
    if service == "s3":
        sent["X-Amz-Content-SHA256"] = content
    if keys.token:
        sent["X-Amz-Security-Token"] = keys.token
    signed = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    signed["host"] = _host(url)
    names = ";".join(sorted(signed))
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    signature = _signature(
        keys, service, region, now, _canonical(method, parts.path or "/", query, signed, names, content)
    )
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{_scope(now, region, service)}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return sent


def presign(keys: Keys, service: str, region: str, url: str, parameters: Mapping[str, str], seconds: int) -> str:
    """A presigned GET of this URL (without a query) with these parameters, valid for `seconds`."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    signing = {
        **parameters,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys.access_key}/{_scope(now, region, service)}",
        "X-Amz-Date": now,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.token:
        signing["X-Amz-Security-Token"] = keys.token
    query = "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, v in signing.items())
    )
    content = hashlib.sha256(b"").hexdigest()
    canonical = _canonical("GET", urlsplit(url).path or "/", query, {"host": _host(url)}, "host", content)
    return f"{url}?{query}&X-Amz-Signature={_signature(keys, service, region, now, canonical)}"


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], names: str, content: str) -> str:
    lines = [f"{name}:{value}" for name, value in sorted(headers.items())]
    return "\n".join((method, path, query, *lines, "", names, content))


def _signature(keys: Keys, service: str, region: str, now: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{_scope(now, region, service)}\n{digest}"
    return _hmac(_signing_key(keys.secret_key, now[:8], region, service), text).hex()


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret_key}".encode()
    for text in (day, region, service, "aws4_request"):
        key = _hmac(key, text)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _scope(now: str, region: str, service: str) -> str:
    return f"{now[:8]}/{region}/{service}/aws4_request"


def _host(url: str) -> str:
    """The Host header that a client sends: with the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")
