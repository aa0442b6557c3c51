"""Callers of the API, as the end-to-end tests see them: a company with an admin and a guest, each with its tokens."""

import base64
import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

# The smallest WebP file: one transparent pixel.
PIXEL = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
PASSWORD = "correct horse 1"

_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test, and no earlier run against the same service, has used."""
    return f"{word}-{uuid.uuid4().hex[:10]}-{next(_numbers)}"


@dataclass
class Person:
    """A logged-in user."""

    http: httpx.Client
    id: int
    email: str
    corporation_id: int
    tokens: dict[str, Any]
    password: str = PASSWORD

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def call(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        if isinstance(body, bytes):
            more["content"], headers = body, {"Content-Type": "image/webp", **headers}
        elif body is not None:
            more["json"] = body
        return self.http.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.call("GET", path, **more)

    def me(self) -> dict[str, Any]:
        found: dict[str, Any] = expect(self.get("/v1/auth/me"), 200)
        return found


@dataclass
class Company:
    """A corporation with an admin and a guest."""

    id: int
    name: str
    admin: Person
    guest: Person
    videos: list[int] = field(default_factory=list)

    def video(self, name: str | None = None, file_path: str = "videos/none.mp4") -> int:
        body = {"name": name or unique("video"), "file_path": file_path}
        return int(expect(self.admin.call("POST", "/v1/videos", body), 201)["id"])


def expect(response: httpx.Response, status: int) -> Any:
    """The answer's JSON, if its status is this."""
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    return response.json() if response.content else None


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The answer as a problem document of this status and type, its shape checked."""
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:vms:error:{name}"
    assert body["status"] == status
    assert all(isinstance(body[member], str) and body[member] for member in ("title", "detail", "instance"))
    assert set(body) == {"type", "title", "status", "detail", "instance"} | ({"errors"} if status == 422 else set())
    if status == 401:
        # REST APIs rename the header of a function's answer (API Gateway developer guide, "Important notes").
        names = ("WWW-Authenticate", "x-amzn-Remapped-WWW-Authenticate")
        assert any(response.headers.get(name, "").startswith("Bearer") for name in names)
    return body


def log_in(http: httpx.Client, email: str, password: str = PASSWORD) -> dict[str, Any]:
    tokens: dict[str, Any] = expect(http.post("/v1/auth/login", json={"email": email, "password": password}), 200)
    return tokens


def person(http: httpx.Client, email: str) -> Person:
    someone = Person(http, 0, email, 0, log_in(http, email))
    me = someone.me()
    someone.id, someone.corporation_id = me["id"], me["corporation_id"]
    return someone


def add_member(admin: Person, role: str = "guest") -> Person:
    email = f"{unique(role)}@example.com"
    expect(admin.call("POST", "/v1/users", {"email": email, "password": PASSWORD, "role": role}), 201)
    return person(admin.http, email)


def found_company(http: httpx.Client, plan: str = "PAID", **more: object) -> Company:
    name, email = unique("company"), f"{unique('admin')}@example.com"
    body = {"name": name, "plan": plan, "admin_email": email, "admin_password": PASSWORD, **more}
    corporation = expect(http.post("/v1/corporations", json=body), 201)
    admin = person(http, email)
    return Company(corporation["id"], name, admin, add_member(admin))
