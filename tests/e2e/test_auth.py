"""Log-in, refresh and log-out, and what ends a session."""

import base64
import json
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, add_member, expect, found_company, log_in, problem, unique


def claims(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def refresh(http: httpx.Client, token: object) -> httpx.Response:
    return http.post("/v1/auth/refresh", json={"refresh_token": token})


def test_log_in_answers_a_pair_of_tokens_with_the_contracts_claims(http: httpx.Client, acme: Company) -> None:
    tokens = log_in(http, acme.guest.email.upper())
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    for typ in ("access", "refresh"):
        found = claims(tokens[f"{typ}_token"])
        assert set(found) == {"iss", "aud", "sub", "cid", "role", "typ", "jti", "iat", "exp"}
        assert (found["typ"], found["sub"], found["cid"]) == (typ, str(acme.guest.id), acme.id)
    header = json.loads(base64.urlsafe_b64decode(tokens["access_token"].split(".")[0] + "=="))
    assert header["alg"] == "HS256"
    assert header["kid"]


def test_an_unknown_email_and_a_wrong_password_are_answered_alike(http: httpx.Client, acme: Company) -> None:
    answers = [
        http.post("/v1/auth/login", json={"email": email, "password": "wrong password"})
        for email in (acme.guest.email, f"{unique('nobody')}@example.com")
    ]
    bodies = [problem(answer, 401, "unauthenticated") for answer in answers]
    assert bodies[0]["detail"] == bodies[1]["detail"]


@pytest.mark.parametrize("password", ["x" * 100, "\u0000" * 9, "\ud800" * 3])
def test_a_password_that_bcrypt_cannot_take_is_just_wrong(http: httpx.Client, acme: Company, password: str) -> None:
    body = json.dumps({"email": acme.guest.email, "password": password})
    assert http.post("/v1/auth/login", content=body).status_code in {401, 422}


def test_an_email_is_the_same_however_its_accents_are_spelled(http: httpx.Client, acme: Company) -> None:
    rest = f"-{unique('x')}@example.com"
    composed, decomposed, capital = f"\u00e9{rest}", f"e\u0301{rest}", f"\u00c9{rest}"
    created = acme.admin.call("POST", "/v1/users", {"email": decomposed, "password": PASSWORD})
    assert expect(created, 201)["email"] == decomposed
    for spelled in (composed, decomposed, capital):
        assert log_in(http, spelled)["token_type"] == "Bearer"
        expect(acme.admin.get(f"/v1/users/{quote(spelled)}"), 200)
        problem(acme.admin.call("POST", "/v1/users", {"email": spelled, "password": PASSWORD}), 409, "conflict")


@pytest.mark.parametrize("email", ["\u0000", "a\u0000b@example.com", "\ud800", "a" * 300])
def test_what_cannot_be_an_email_is_422(http: httpx.Client, email: str) -> None:
    body = json.dumps({"email": email, "password": PASSWORD})
    problem(http.post("/v1/auth/login", content=body), 422, "invalid")


def test_too_many_failed_log_ins_are_429_with_retry_after(http: httpx.Client, acme: Company) -> None:
    victim = add_member(acme.admin)
    wrong = {"email": victim.email, "password": "wrong password"}
    answers = [http.post("/v1/auth/login", json=wrong) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}
    refused = http.post("/v1/auth/login", json={"email": victim.email, "password": PASSWORD})
    problem(refused, 429, "too-many-attempts")
    assert 1 <= int(refused.headers["Retry-After"]) <= 900
    log_in(http, acme.guest.email)  # another address is not held to it


def test_a_successful_log_in_forgets_the_failures(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    for _ in range(3):
        for _ in range(9):
            wrong = http.post("/v1/auth/login", json={"email": user.email, "password": "wrong password"})
            problem(wrong, 401, "unauthenticated")
        log_in(http, user.email)


def test_refresh_works_after_a_second_log_in(http: httpx.Client, acme: Company) -> None:
    first, second = log_in(http, acme.guest.email), log_in(http, acme.guest.email)
    for tokens in (first, second, first):
        if tokens is first and "used" in tokens:
            continue
        pair = expect(refresh(http, tokens["refresh_token"]), 200)
        assert pair["refresh_token"] != tokens["refresh_token"]
        tokens["used"] = True


def test_a_refresh_token_of_an_older_generation_revokes_the_family(http: httpx.Client, acme: Company) -> None:
    first = log_in(http, acme.guest.email)
    other = log_in(http, acme.guest.email)
    second = expect(refresh(http, first["refresh_token"]), 200)
    third = expect(refresh(http, second["refresh_token"]), 200)
    problem(refresh(http, first["refresh_token"]), 401, "unauthenticated")
    problem(refresh(http, third["refresh_token"]), 401, "unauthenticated")
    expect(refresh(http, other["refresh_token"]), 200)  # another log-in is another family


def test_a_token_works_for_its_own_use_only(http: httpx.Client, acme: Company) -> None:
    tokens = log_in(http, acme.guest.email)
    as_access = http.get("/v1/auth/me", headers={"Authorization": f"Bearer {tokens['refresh_token']}"})
    problem(as_access, 401, "unauthenticated")
    problem(refresh(http, tokens["access_token"]), 401, "unauthenticated")
    logout = acme.guest.call("POST", "/v1/auth/logout", {"refresh_token": tokens["access_token"]})
    problem(logout, 401, "unauthenticated")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Basic YTpi",
        "Bearer not-a-token",
        "Bearer a.b.c",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6WzFdfQ.e30.x",
    ],
)
def test_a_broken_authorization_is_401(http: httpx.Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    problem(http.get("/v1/auth/me", headers=headers), 401, "unauthenticated")


def test_a_token_that_was_tampered_with_is_401(http: httpx.Client, acme: Company) -> None:
    head, body, signature = acme.guest.tokens["access_token"].split(".")
    forged = {**claims(acme.guest.tokens["access_token"]), "role": "admin", "sub": str(acme.admin.id)}
    forged_body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in (f"{head}.{forged_body}.{signature}", f"{none}.{forged_body}.", f"{head}.{body}.{signature[::-1]}"):
        answer = http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
        problem(answer, 401, "unauthenticated")


def test_the_bearer_scheme_is_case_insensitive(http: httpx.Client, acme: Company) -> None:
    headers = {"Authorization": f"bearer {acme.guest.tokens['access_token']}"}
    assert expect(http.get("/v1/auth/me", headers=headers), 200)["id"] == acme.guest.id


def test_two_tabs_or_a_lost_answer_log_nobody_out(http: httpx.Client, acme: Company) -> None:
    first = log_in(http, acme.guest.email)["refresh_token"]
    one, two = (expect(refresh(http, first), 200)["refresh_token"] for _ in range(2))
    assert len({first, one, two}) == 3
    for tab in (one, two):
        again = expect(refresh(http, tab), 200)["refresh_token"]
        expect(refresh(http, again), 200)


def test_an_answer_with_a_token_is_not_stored(http: httpx.Client, acme: Company) -> None:
    body = {"email": acme.guest.email, "password": PASSWORD}
    answers = [http.post("/v1/auth/login", json=body)]
    answers += [refresh(http, answers[0].json()["refresh_token"])]
    answers += [acme.guest.call("POST", f"/v1/videos/{acme.video()}/playback"), acme.guest.get("/v1/auth/me")]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 4


def test_log_out_revokes_the_family_and_may_be_said_twice(http: httpx.Client, acme: Company) -> None:
    tokens = log_in(http, acme.guest.email)
    newer = expect(refresh(http, tokens["refresh_token"]), 200)
    for token in (tokens["refresh_token"], newer["refresh_token"], newer["refresh_token"]):
        answer = acme.guest.call("POST", "/v1/auth/logout", {"refresh_token": token})
        assert (answer.status_code, answer.content) == (204, b"")
    problem(refresh(http, newer["refresh_token"]), 401, "unauthenticated")


def test_nobody_logs_another_out_by_its_token(http: httpx.Client, acme: Company) -> None:
    tokens = log_in(http, acme.guest.email)
    answer = acme.admin.call("POST", "/v1/auth/logout", {"refresh_token": tokens["refresh_token"]})
    problem(answer, 401, "unauthenticated")
    expect(refresh(http, tokens["refresh_token"]), 200)


def test_sessions_are_shown_without_their_tokens(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    tokens = expect(refresh(http, user.tokens["refresh_token"]), 200)
    for viewer in (user, acme.admin):
        answer = viewer.get(f"/v1/tokens/{user.id}")
        sessions = expect(answer, 200)["items"]
        assert [set(session) for session in sessions] == 2 * [
            {"id", "user_id", "created_at", "expires_at", "revoked_at"}
        ]
        assert [session["revoked_at"] is None for session in sessions] == [True, False]
        assert tokens["refresh_token"] not in answer.text


def test_logging_out_everywhere_revokes_every_session(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    second = log_in(http, user.email)
    assert acme.admin.call("DELETE", f"/v1/tokens/{user.id}").status_code == 204
    for token in (user.tokens["refresh_token"], second["refresh_token"]):
        problem(refresh(http, token), 401, "unauthenticated")
    assert user.call("DELETE", f"/v1/tokens/{user.id}").status_code == 204


def test_a_deleted_users_tokens_stop_at_once_with_401(http: httpx.Client, acme: Company) -> None:
    user = add_member(acme.admin)
    assert acme.admin.call("DELETE", f"/v1/users/{user.id}").status_code == 204
    problem(user.get("/v1/auth/me"), 401, "unauthenticated")
    problem(user.get("/v1/videos"), 401, "unauthenticated")
    problem(refresh(http, user.tokens["refresh_token"]), 401, "unauthenticated")
    login = http.post("/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    problem(login, 401, "unauthenticated")


def test_me_is_the_caller(http: httpx.Client) -> None:
    company = found_company(http)
    me = company.guest.me()
    assert set(me) == {"id", "email", "role", "corporation_id", "point", "created_at", "updated_at"}
    assert (me["email"], me["role"], me["corporation_id"], me["point"]) == (
        company.guest.email,
        "guest",
        company.id,
        0,
    )
