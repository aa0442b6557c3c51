"""Members: adding, changing and deleting them, and the last admin."""

from urllib.parse import quote

import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, add_member, expect, found_company, log_in, person, problem, unique


def new_user(**more: object) -> dict[str, object]:
    return {"email": f"{unique('u')}@example.com", "password": PASSWORD, **more}


def test_an_admin_adds_a_member_with_no_points(acme: Company) -> None:
    made = expect(acme.admin.call("POST", "/v1/users", new_user(corporation_id=acme.id, point=0)), 201)
    assert set(made) == {"id", "email", "role", "corporation_id", "point", "created_at", "updated_at"}
    assert (made["role"], made["corporation_id"], made["point"]) == ("guest", acme.id, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"point": 1}, "point"),
        ({"point": 10.5}, "point"),
        ({"role": "root"}, "role"),
        ({"email": "x"}, "email"),
        ({"email": None}, "email"),
        ({"password": "1234567"}, "password"),
        ({"password": "🔑" * 19}, "password"),
        ({"corporation_id": "1"}, "corporation_id"),
        ({"corporation_id": 0}, "corporation_id"),
        ({"corporation_id": 2**63}, "corporation_id"),
        ({"is_admin": True}, "is_admin"),
    ],
)
def test_a_broken_member_is_422_and_names_the_field(acme: Company, change: dict[str, object], field: str) -> None:
    answer = problem(acme.admin.call("POST", "/v1/users", new_user(**change)), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == [field]
    assert "1234567" not in str(answer)


def test_nobody_makes_a_user_in_another_corporation(acme: Company, rival: Company) -> None:
    body = new_user(role="admin", corporation_id=rival.id)
    problem(acme.admin.call("POST", "/v1/users", body), 404, "not-found")
    problem(acme.guest.call("POST", "/v1/users", new_user(role="admin")), 403, "forbidden")
    problem(acme.admin.http.post("/v1/users", json=body), 401, "unauthenticated")


def test_a_guest_cannot_make_itself_an_admin(acme: Company) -> None:
    path = f"/v1/users/{acme.guest.id}"
    problem(acme.guest.call("PUT", path, {"role": "admin"}), 403, "forbidden")
    change = {"role": "admin", "password": "another one 1", "current_password": PASSWORD}
    problem(acme.guest.call("PUT", path, change), 403, "forbidden")
    assert acme.guest.me()["role"] == "guest"


def test_a_taken_email_is_409_in_any_case(acme: Company, rival: Company) -> None:
    body = new_user(email=rival.guest.email.upper())
    problem(acme.admin.call("POST", "/v1/users", body), 409, "conflict")


def test_an_admin_sees_all_members_newest_first(http: httpx.Client) -> None:
    company = found_company(http)
    newest = add_member(company.admin)
    page = expect(company.admin.get("/v1/users"), 200)
    assert [user["id"] for user in page["items"]] == [newest.id, company.guest.id, company.admin.id]
    problem(company.guest.get("/v1/users"), 403, "forbidden")


def test_a_member_is_found_by_id_and_by_email_in_any_case(acme: Company) -> None:

    for path in (f"/v1/users/id/{acme.guest.id}", f"/v1/users/{quote(acme.guest.email.upper())}"):
        for viewer in (acme.admin, acme.guest):
            assert expect(viewer.get(path), 200)["id"] == acme.guest.id
    for path in (f"/v1/users/id/{acme.admin.id}", f"/v1/users/{acme.admin.email}"):
        problem(acme.guest.get(path), 403, "forbidden")


def test_an_email_with_a_plus_is_found(acme: Company) -> None:
    made = expect(acme.admin.call("POST", "/v1/users", new_user(email=f"a+b.{unique('x')}@example.com")), 201)
    assert expect(acme.admin.get(f"/v1/users/{made['email']}"), 200)["id"] == made["id"]


def test_changing_ones_own_password_needs_the_current_one_and_ends_the_sessions(
    http: httpx.Client, acme: Company
) -> None:
    user = add_member(acme.admin)
    path = f"/v1/users/{user.id}"
    for change in ({"password": "new password 2"}, {"password": "new password 2", "current_password": "wrong one"}):
        answer = problem(user.call("PUT", path, change), 422, "invalid")
        assert [error["field"] for error in answer["errors"]] == ["current_password"]
    expect(user.call("PUT", path, {"password": "new password 2", "current_password": PASSWORD}), 200)
    problem(http.post("/v1/auth/login", json={"email": user.email, "password": PASSWORD}), 401, "unauthenticated")
    old = http.post("/v1/auth/refresh", json={"refresh_token": user.tokens["refresh_token"]})
    problem(old, 401, "unauthenticated")
    log_in(http, user.email, "new password 2")


def test_guessing_the_current_password_is_stopped(acme: Company) -> None:
    user = add_member(acme.admin)
    change = {"password": "new password 2", "current_password": "wrong one"}
    answers = [user.call("PUT", f"/v1/users/{user.id}", change).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_an_admin_sets_a_members_password_without_the_old_one(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    expect(acme.admin.call("PUT", f"/v1/users/{user.id}", {"password": "set by admin 3"}), 200)
    log_in(http, user.email, "set by admin 3")


def test_roles_are_as_they_are_now_not_as_the_token_says(acme: Company) -> None:
    user = add_member(acme.admin)
    problem(user.get("/v1/users"), 403, "forbidden")
    assert expect(acme.admin.call("PUT", f"/v1/users/{user.id}", {"role": "admin"}), 200)["role"] == "admin"
    expect(user.get("/v1/users"), 200)
    expect(acme.admin.call("PUT", f"/v1/users/{user.id}", {"role": "guest"}), 200)
    problem(user.get("/v1/users"), 403, "forbidden")


@pytest.mark.parametrize("body", [{}, {"role": None}, {"password": None}, {"email": "new@example.com"}, {"point": 100}])
def test_a_user_change_that_says_nothing_or_too_much_is_422(acme: Company, body: dict[str, object]) -> None:
    problem(acme.admin.call("PUT", f"/v1/users/{acme.guest.id}", body), 422, "invalid")


def test_the_last_admin_can_neither_go_nor_be_demoted(http: httpx.Client) -> None:
    company = found_company(http)
    path = f"/v1/users/{company.admin.id}"
    problem(company.admin.call("PUT", path, {"role": "guest"}), 409, "conflict")
    problem(company.admin.call("DELETE", path), 409, "conflict")
    second = add_member(company.admin, "admin")
    assert expect(company.admin.call("PUT", path, {"role": "guest"}), 200)["role"] == "guest"
    problem(second.call("DELETE", f"/v1/users/{second.id}"), 409, "conflict")


def test_a_deleted_member_is_gone_and_its_email_is_free(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    problem(acme.guest.call("DELETE", f"/v1/users/{user.id}"), 403, "forbidden")
    assert user.call("DELETE", f"/v1/users/{user.id}").status_code == 204
    problem(acme.admin.get(f"/v1/users/id/{user.id}"), 404, "not-found")
    problem(acme.admin.call("DELETE", f"/v1/users/{user.id}"), 404, "not-found")
    expect(acme.admin.call("POST", "/v1/users", new_user(email=user.email)), 201)
    assert person(http, user.email).id != user.id
