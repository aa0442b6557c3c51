"""Whatever a caller sends, the answer is below 500: some thousand requests of odd values, the same ones in each run."""

import json
import random
import re
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.clients import Company, found_company
from tests.in_process import routes

pytestmark = pytest.mark.usefixtures("environment")

REQUESTS = 5000
NUMBERS = [0, -1, 1, 10, 2**31, 2**63, 2**64, 10**400, 1e308, 1.5]
TEXTS = [
    *("", " ", "a", "\x00", "a\x00b", "\ud800", "\u202e", "😀" * 30, "a" * 256, "a" * 5000, "루먼랩", "e\u0301"),
    *("null", "1e3", "-0"),
    *("2030-01-01", "2030-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"),
    "2030-02-30T00:00:00Z",
    *("PAID", "FREE", "admin", "guest", "../x", "/x", "http://x/y", "a//b", "%00", "%2F", "\u0661"),
    *("x@y.z", "a@b", "\uff41\uff20\uff42.com", "\u00df@x.com", "\u0130@x.com", "a" * 64 + "@" + "b" * 200 + ".com"),
]  # fmt: skip
VALUES = [None, True, False, [], [1], {}, {"a": 1}, *NUMBERS, *TEXTS]
FIELDS = [
    *("name", "plan", "plan_expire_at", "admin_email", "admin_password", "email", "password", "role", "corporation_id"),
    *("point", "file_path", "video_id", "refresh_token", "current_password", "unknown"),
]  # fmt: skip
REQUIRED = {
    "/v1/corporations": ("name", "admin_email", "admin_password"),
    "/v1/auth/login": ("email", "password"),
    "/v1/auth/refresh": ("refresh_token",),
    "/v1/auth/logout": ("refresh_token",),
    "/v1/users": ("email", "password"),
    "/v1/videos": ("name", "file_path"),
    "/v1/uploads": ("file_name", "size"),
    "/v1/view-logs": ("video_id",),
}
BODIES = [
    b"",
    b"null",
    b"[]",
    b"[",
    b'"a"',
    b"{}{}",
    b"\xff\xfe",
    b'{"a":NaN}',
    b"[" * 3000,
    b"9" * 5000,
    b'{"a":' + b"9" * 5000 + b"}",
]
AUTHORIZATIONS = [
    "",
    "Bearer",
    "Bearer a.b.c",
    "Basic eA==",
    "Bearer é",
    "Bearer " + "a" * 9000,
    "Bearer eyJhbGciOiJub25lIn0.e30.",
]


class Hostile:
    """Makes requests out of odd values."""

    def __init__(self, company: Company) -> None:
        self.random = random.Random(20_261_124)
        self.company = company
        self.known = [company.id, company.video(), company.guest.id, company.name, company.guest.email]
        # Its own members and the corporation stay, so that the requests go on meaning something.
        self.routes = [key for key in sorted(routes()) if key[0] != "DELETE" and key[1] != "/docs"]

    def request(self) -> httpx.Request:
        method, resource = self.random.choice(self.routes)
        path = re.sub(r"\{\w+\}", lambda _: self.segment(), resource)
        if self.random.random() < 0.3:
            names = self.random.choices(["limit", "cursor", "deleted", "token", "q", "x"], k=2)
            path += "?" + "&".join(f"{name}={encoded(self.random.choice(VALUES))}" for name in names)
        headers = {"Range": self.random.choice(["bytes=0-", "x", "bytes=-", "bytes=1-2,3-4"])}
        headers |= self.random.choice([self.company.admin, self.company.guest]).headers
        if self.random.random() < 0.1:
            headers["Authorization"] = self.random.choice(AUTHORIZATIONS)
        content = self.body(method, resource) if method in {"POST", "PUT"} else None
        raw = {name.encode(): value.encode() for name, value in headers.items()}
        return httpx.Request(method, f"http://localhost{path}", headers=raw, content=content)

    def segment(self) -> str:
        return encoded(self.random.choice([*self.known, *VALUES])) or "x"

    def body(self, method: str, resource: str) -> bytes:
        if self.random.random() < 0.1:
            return self.random.choice(BODIES)
        names = list(REQUIRED.get(resource, ())) if method == "POST" else []
        names += self.random.sample(FIELDS, self.random.choice([0, 0, 1, 2]) if names else 1)
        return json.dumps({name: self.random.choice(VALUES) for name in names}).encode()


def encoded(value: object) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="")


def test_nothing_that_a_caller_sends_makes_a_server_error(http: httpx.Client) -> None:
    hostile = Hostile(found_company(http))
    seen: set[int] = set()
    for _ in range(REQUESTS):
        request = hostile.request()
        answer = http.send(request)
        seen.add(answer.status_code)
        # 502 is what a stream of a video without a file answers.
        assert answer.status_code < 500 or (answer.status_code == 502 and "/stream/" in request.url.path), (
            f"{request.method} {request.url} {request.content[:300]!r}: {answer.text}"
        )
    assert seen >= {200, 201, 400, 401, 403, 404, 422}
