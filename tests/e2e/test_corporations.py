"""Sign-up, and what a corporation may see and change of itself."""

import json
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, add_member, expect, found_company, log_in, problem, unique


def sign_up(**more: object) -> dict[str, object]:
    return {
        "name": unique("c"),
        "admin_email": f"{unique('a')}@example.com",
        "admin_password": PASSWORD,
        **more,
    }


def test_sign_up_makes_a_free_corporation_and_its_first_admin(http: httpx.Client) -> None:
    body = sign_up()
    made = expect(http.post("/v1/corporations", json=body), 201)
    assert set(made) == {"id", "name", "plan", "plan_expire_at", "created_at", "updated_at"}
    assert (made["name"], made["plan"], made["plan_expire_at"]) == (body["name"], "FREE", None)
    assert made["created_at"].endswith("Z")
    assert log_in(http, str(body["admin_email"]))["token_type"] == "Bearer"


def test_a_time_without_an_offset_is_taken_as_utc(http: httpx.Client) -> None:
    made = expect(http.post("/v1/corporations", json=sign_up(plan="PAID", plan_expire_at="2031-05-06T07:08:09")), 201)
    assert made["plan_expire_at"] == "2031-05-06T07:08:09Z"
    made = expect(
        http.post("/v1/corporations", json=sign_up(plan="PAID", plan_expire_at="2031-05-06T07:08:09+09:00")), 201
    )
    assert made["plan_expire_at"] == "2031-05-05T22:08:09Z"


def test_a_taken_corporation_name_is_409_and_makes_no_admin(http: httpx.Client, acme: Company) -> None:
    body = sign_up(name=acme.name)
    problem(http.post("/v1/corporations", json=body), 409, "conflict")
    refused = http.post("/v1/auth/login", json={"email": body["admin_email"], "password": PASSWORD})
    problem(refused, 401, "unauthenticated")


def test_an_email_is_unique_over_the_whole_service_whatever_its_case(http: httpx.Client, acme: Company) -> None:
    name = unique("c")
    body = sign_up(name=name, admin_email=acme.guest.email.upper())
    problem(http.post("/v1/corporations", json=body), 409, "conflict")
    expect(http.post("/v1/corporations", json=sign_up(name=name)), 201)  # nothing was left of the refused one


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"plan": "GOLD"}, "plan"),
        ({"plan": None}, "plan"),
        ({"plan_expire_at": "tomorrow"}, "plan_expire_at"),
        ({"plan_expire_at": 1_900_000_000}, "plan_expire_at"),
        ({"plan_expire_at": "0001-01-01T00:00:00+14:00"}, "plan_expire_at"),
        ({"admin_email": "nobody"}, "admin_email"),
        ({"admin_email": "a b@example.com"}, "admin_email"),
        ({"admin_password": "short"}, "admin_password"),
        ({"admin_password": "가" * 25}, "admin_password"),
        ({"admin_password": "has\u0000nul-in-it"}, "admin_password"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_broken_sign_up_is_422_and_names_the_field(http: httpx.Client, change: dict[str, object], field: str) -> None:

    body = json.dumps(sign_up(**change)).encode()
    answer = problem(http.post("/v1/corporations", content=body), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == [field]


def test_a_password_over_72_bytes_is_422_and_of_72_works(http: httpx.Client) -> None:
    problem(http.post("/v1/corporations", json=sign_up(admin_password="é" * 37)), 422, "invalid")
    body = sign_up(admin_password="é" * 36)
    expect(http.post("/v1/corporations", json=body), 201)
    log_in(http, str(body["admin_email"]), "é" * 36)


def test_bodies_that_are_no_json_object(http: httpx.Client) -> None:
    for body in (b"{", b"\xff\xfe", b"{'a': 1}", b'{"a": NaN}', b"[" * 30_000):
        problem(http.post("/v1/corporations", content=body), 400, "bad-json")
    for body in (b"[]", b'"text"', b"null", b"7", b"", b"[{}]"):
        problem(http.post("/v1/corporations", content=body), 422, "invalid")


def test_a_body_over_64_kib_is_413(http: httpx.Client) -> None:
    problem(http.post("/v1/corporations", content=b'{"name": "' + b"x" * 65_536 + b'"}'), 413, "too-large")


def test_the_content_type_of_a_body_does_not_matter(http: httpx.Client) -> None:

    body = json.dumps(sign_up()).encode()
    expect(http.post("/v1/corporations", content=body, headers={"Content-Type": "text/plain"}), 201)


def test_ones_own_corporation_is_a_page_of_one(acme: Company) -> None:
    page = expect(acme.guest.get("/v1/corporations"), 200)
    assert [item["id"] for item in page["items"]] == [acme.id]
    assert page["next_cursor"] is None


def test_a_corporation_is_found_by_id_and_by_name(acme: Company) -> None:
    assert expect(acme.guest.get(f"/v1/corporations/id/{acme.id}"), 200)["name"] == acme.name
    assert expect(acme.guest.get(f"/v1/corporations/{acme.name}"), 200)["id"] == acme.id


@pytest.mark.parametrize("begin", ["루먼랩 ", "b+c%20&?#", "a/b"], ids=["hangul", "signs", "slash"])
def test_any_name_works_in_a_path(http: httpx.Client, begin: str) -> None:
    company = found_company(http)
    name = unique(begin)
    expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", {"name": name}), 200)
    assert expect(company.admin.get(f"/v1/corporations/{quote(name, safe='')}"), 200)["id"] == company.id


def test_only_the_fields_sent_change(http: httpx.Client) -> None:
    company = found_company(http, plan_expire_at="2040-01-01T00:00:00Z")
    path = f"/v1/corporations/{company.id}"
    name = unique("renamed")
    changed = expect(company.admin.call("PUT", path, {"name": name}), 200)
    assert (changed["name"], changed["plan"], changed["plan_expire_at"]) == (name, "PAID", "2040-01-01T00:00:00Z")
    changed = expect(company.admin.call("PUT", path, {"plan_expire_at": None}), 200)
    assert (changed["plan"], changed["plan_expire_at"]) == ("PAID", None)
    changed = expect(company.admin.call("PUT", path, {"plan_expire_at": "2041-01-01T00:00:00Z"}), 200)
    assert changed["plan_expire_at"] == "2041-01-01T00:00:00Z"
    changed = expect(company.admin.call("PUT", path, {"plan": "FREE"}), 200)
    assert (changed["plan"], changed["plan_expire_at"]) == ("FREE", None)


@pytest.mark.parametrize("body", [{}, {"name": None}, {"plan": None}, {"id": 1}, {"name": "x", "extra": 1}])
def test_a_put_that_says_nothing_or_too_much_is_422(acme: Company, body: dict[str, object]) -> None:
    problem(acme.admin.call("PUT", f"/v1/corporations/{acme.id}", body), 422, "invalid")


def test_a_put_without_a_body_is_422(acme: Company) -> None:
    problem(acme.admin.call("PUT", f"/v1/corporations/{acme.id}"), 422, "invalid")


def test_a_taken_name_is_409_on_put_too(acme: Company, rival: Company) -> None:
    problem(acme.admin.call("PUT", f"/v1/corporations/{acme.id}", {"name": rival.name}), 409, "conflict")


def test_deleting_a_corporation_ends_its_users_at_once_and_frees_its_names(http: httpx.Client) -> None:
    company = found_company(http)
    member = add_member(company.admin)
    assert company.admin.call("DELETE", f"/v1/corporations/{company.id}").status_code == 204
    for someone in (company.admin, company.guest, member):
        problem(someone.get("/v1/auth/me"), 401, "unauthenticated")
        refresh = http.post("/v1/auth/refresh", json={"refresh_token": someone.tokens["refresh_token"]})
        problem(refresh, 401, "unauthenticated")
    expect(http.post("/v1/corporations", json=sign_up(name=company.name, admin_email=company.admin.email)), 201)


@pytest.mark.parametrize("wrong", ["0", "-1", "abc", "1.5", "9" * 30, "1_0", "%20", "+1"])
def test_a_broken_id_is_422(acme: Company, wrong: str) -> None:
    problem(acme.admin.get(f"/v1/corporations/id/{wrong}"), 422, "invalid")


def test_the_quota_says_what_the_plan_has_room_for_and_what_is_taken(http: httpx.Client) -> None:
    company = found_company(http, "FREE")
    path = f"/v1/corporations/id/{company.id}/quota"
    free = expect(company.guest.get(path), 200)
    assert (free["used_videos"], free["used_bytes"]) == (0, 0)
    company.video()
    assert expect(company.admin.get(path), 200) == {**free, "used_videos": 1}
    expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", {"plan": "PAID"}), 200)
    paid = expect(company.admin.get(path), 200)
    assert paid["videos"] > free["videos"]
    assert paid["bytes"] > free["bytes"]
