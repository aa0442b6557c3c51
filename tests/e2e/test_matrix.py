"""Route by role by own or other corporation: the documented authorization is the real one."""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import PASSWORD, PIXEL, Company, add_member, found_company, unique
from tests.e2e.films import FILM
from tests.e2e.senders import begin, sent
from tests.in_process import routes

DOCUMENT = json.loads((Path(__file__).parents[2] / "functions/service/openapi.json").read_text("utf-8"))


SUCCESS = (200, 201, 204)


@dataclass
class Case:
    """How to call a route about a company."""

    method: str
    path: str
    body: dict[str, object] | bytes | None = None


def case(method: str, path: str, company: Company, target: int) -> Case:
    """A good call of this route about a company's things; `target` is a member of it who is not the caller."""
    video = company.video()
    bodies: dict[tuple[str, str], dict[str, object] | bytes] = {
        ("PUT", "/v1/corporations/{corporation}"): {"name": unique("renamed")},
        ("POST", "/v1/users"): {
            "email": f"{unique('n')}@example.com",
            "password": PASSWORD,
            "corporation_id": company.id,
        },
        ("PUT", "/v1/users/{user}"): {"password": "another good one"},
        ("POST", "/v1/videos"): {"name": "x", "file_path": "a.mp4", "corporation_id": company.id},
        ("PUT", "/v1/videos/{video}"): {"name": "y"},
        ("POST", "/v1/uploads"): {"file_name": "film.mp4", "size": 5},
        ("POST", "/v1/uploads/{upload}/parts"): {"numbers": [1]},
        ("PUT", "/v1/videos/{video}/progress"): {"position": 5, "watched": [[0, 5]]},
        ("PUT", "/v1/videos/{video}/poster"): PIXEL,
        ("POST", "/v1/view-logs"): {"video_id": video},
        ("POST", "/v1/auth/logout"): {"refresh_token": company.admin.tokens["refresh_token"]},
    }
    upload = 0
    if "{upload}" in path:
        upload = sent(company.admin, FILM)["id"] if path.endswith("/complete") else begin(company.admin, 5)["id"]
    if path.endswith("/restore"):
        company.admin.call("DELETE", f"/v1/videos/{video}")
    if (method, path) == ("GET", "/v1/videos/{video}/poster"):
        company.admin.call("PUT", f"/v1/videos/{video}/poster", PIXEL)
    by_email = (method, path) == ("GET", "/v1/users/{user}")
    values: dict[str, object] = {
        "{corporation_id}": company.id,
        "{corporation}": company.name if method == "GET" else company.id,
        "{user_id}": target,
        "{user}": company.guest.email if by_email else target,
        "{video_id}": video,
        "{upload}": upload,
        "{video}": company.id if (method, path) == ("GET", "/v1/videos/{video}") else video,
    }
    wire = path
    for name, value in values.items():
        wire = wire.replace(name, str(value))
    return Case(method, wire, bodies.get((method, path)))


def operations(who: str | None = None) -> list[tuple[str, str]]:
    """The routes of template.yaml, or those that the OpenAPI document says are for these callers."""
    found = []
    for method, path in sorted(route for route in routes() if route[0] != "OPTIONS"):
        declared = DOCUMENT["paths"][path][method.lower()]["x-who"]
        if who is None or declared == who:
            found.append((method, path))
    return found


PROTECTED = [*operations("any"), *operations("admin"), *operations("admin, or self")]
OWN_ONLY = {
    "/v1/reports/videos",
    "/v1/reports/members",
    "/v1/reports/views",
    "/v1/auth/me",
    "/v1/auth/logout",
    "/v1/corporations",
    "/v1/videos",
    "/v1/users",
    "/v1/uploads",
}


@pytest.fixture(scope="module")
def company(http: httpx.Client) -> Company:
    return found_company(http)


def test_every_route_of_the_template_declares_who_may() -> None:
    assert {who for route in operations() for who in [_who(route)]} == {"anonymous", "any", "admin", "admin, or self"}


def _who(route: tuple[str, str]) -> str:
    who: str = DOCUMENT["paths"][route[1]][route[0].lower()]["x-who"]
    return who


@pytest.mark.parametrize("route", PROTECTED, ids=" ".join)
def test_nobody_gets_in_without_a_token(http: httpx.Client, company: Company, route: tuple[str, str]) -> None:
    call = case(*route, company, company.guest.id)
    body = {"content": call.body} if isinstance(call.body, bytes) else {"json": call.body}
    assert http.request(call.method, call.path, **body).status_code == 401
    assert http.request(call.method, call.path).status_code == 401  # and a broken body tells a stranger nothing


@pytest.mark.parametrize("route", PROTECTED, ids=" ".join)
def test_an_admin_may_in_its_own_corporation(http: httpx.Client, route: tuple[str, str]) -> None:
    own = found_company(http)
    call = case(*route, own, own.guest.id)
    status = own.admin.call(call.method, call.path, call.body).status_code
    assert status in ((404,) if "/stream/" in route[1] else SUCCESS)  # the stream's object is not there


@pytest.mark.parametrize("route", PROTECTED, ids=" ".join)
def test_a_guest_may_what_its_role_allows(company: Company, route: tuple[str, str]) -> None:
    who = _who(route)
    other = add_member(company.admin)  # a colleague of the guest
    call = case(*route, company, other.id)
    if (route[0], route[1]) == ("GET", "/v1/users/{user}"):
        call.path = f"/v1/users/{other.email}"
    if route[1] == "/v1/auth/logout":
        call.body = {"refresh_token": company.guest.tokens["refresh_token"]}
    status = company.guest.call(call.method, call.path, call.body).status_code
    assert status in ((404,) if "/stream/" in route[1] else SUCCESS if who == "any" else (403,))


@pytest.mark.parametrize("route", operations("admin, or self"), ids=" ".join)
def test_a_guest_may_on_itself(company: Company, route: tuple[str, str]) -> None:
    self = add_member(company.admin)
    call = case(*route, company, self.id)
    if (route[0], route[1]) == ("GET", "/v1/users/{user}"):
        call.path = f"/v1/users/{self.email}"
    if call.method == "PUT":
        call.body = {"password": "another good one", "current_password": PASSWORD}
    assert self.call(call.method, call.path, call.body).status_code in SUCCESS


@pytest.mark.parametrize("role", ["admin", "guest"])
@pytest.mark.parametrize("route", [r for r in PROTECTED if r[1] not in OWN_ONLY], ids=" ".join)
def test_what_is_anothers_does_not_exist(acme: Company, company: Company, route: tuple[str, str], role: str) -> None:
    call = case(*route, company, company.guest.id)
    caller = acme.admin if role == "admin" else acme.guest
    assert caller.call(call.method, call.path, call.body).status_code == 404


@pytest.mark.parametrize("route", ["/v1/videos", "/v1/users"])
def test_nothing_is_added_to_another_corporation(acme: Company, company: Company, route: str) -> None:
    call = case("POST", route, company, company.guest.id)
    assert acme.admin.call(call.method, call.path, call.body).status_code == 404
