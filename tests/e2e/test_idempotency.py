"""Requests that are sent again under their Idempotency-Key change nothing twice."""

import json
import threading
import uuid
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import (
    PASSWORD,
    Company,
    Person,
    add_member,
    expect,
    found_company,
    log_in,
    person,
    problem,
    unique,
)

DOCUMENT = json.loads((Path(__file__).parents[2] / "functions/service/openapi.json").read_text("utf-8"))
IDEMPOTENT = sorted(
    path for path, operations in DOCUMENT["paths"].items() if operations.get("post", {}).get("x-idempotent")
)
PROTECTED = [path for path in IDEMPOTENT if path != "/v1/corporations"]


def body_for(path: str) -> dict[str, object]:
    """A good body for this route, as no other request has it."""
    bodies: dict[str, dict[str, object]] = {
        "/v1/corporations": {
            "name": unique("c"),
            "admin_email": f"{unique('a')}@example.com",
            "admin_password": PASSWORD,
        },
        "/v1/users": {"email": f"{unique('u')}@example.com", "password": PASSWORD},
        "/v1/videos": {"name": unique("v"), "file_path": "a.mp4"},
        "/v1/uploads": {"file_name": unique("film"), "size": 5},
    }
    return bodies[path]


def new_key() -> str:
    return f'"{uuid.uuid4()}"'


def send(caller: Person, path: str, body: object, key: str) -> httpx.Response:
    """The request; without a token where the route is for the anonymous."""
    if path == "/v1/corporations":
        return caller.http.post(path, json=body, headers={"Idempotency-Key": key})
    return caller.call("POST", path, body, headers={"Idempotency-Key": key})


def ids(caller: Person, path: str) -> list[int]:
    return [item["id"] for item in expect(caller.get(f"{path}?limit=100"), 200)["items"]]


def test_the_document_names_the_header_where_it_counts() -> None:
    assert IDEMPOTENT == ["/v1/corporations", "/v1/uploads", "/v1/users", "/v1/videos"]
    for path in IDEMPOTENT:
        parameters = DOCUMENT["paths"][path]["post"]["parameters"]
        assert {"$ref": "#/components/parameters/IdempotencyKey"} in parameters


@pytest.mark.parametrize("path", IDEMPOTENT)
def test_a_request_sent_again_gets_the_first_answer_and_changes_nothing(acme: Company, path: str) -> None:
    body, key = body_for(path), new_key()
    first = send(acme.admin, path, body, key)
    expect(first, 201)
    assert "Idempotency-Replayed" not in first.headers
    before = ids(acme.admin, path)
    again = send(acme.admin, path, dict(reversed(body.items())), key.strip('"'))
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers["Cache-Control"] == "no-store"
    assert ids(acme.admin, path) == before


@pytest.mark.parametrize("path", IDEMPOTENT)
def test_another_body_under_a_key_is_422_and_changes_nothing(acme: Company, path: str) -> None:
    key = new_key()
    first = expect(send(acme.admin, path, body_for(path), key), 201)
    refused = problem(send(acme.admin, path, body_for(path), key), 422, "idempotency-key-reused")
    assert refused["errors"][0]["field"] == "Idempotency-Key"
    if path != "/v1/corporations":
        assert ids(acme.admin, path)[0] == first["id"]


def test_another_route_under_a_key_is_422(acme: Company) -> None:
    key = new_key()
    expect(send(acme.admin, "/v1/videos", body_for("/v1/videos"), key), 201)
    problem(send(acme.admin, "/v1/users", body_for("/v1/users"), key), 422, "idempotency-key-reused")


@pytest.mark.parametrize("path", IDEMPOTENT)
def test_two_requests_with_two_keys_or_none_are_two_requests(acme: Company, path: str) -> None:
    made = {expect(send(acme.admin, path, body_for(path), new_key()), 201)["id"] for _ in range(2)}
    made.add(expect(acme.admin.call("POST", path, body_for(path)), 201)["id"])
    assert len(made) == 3


@pytest.mark.parametrize("path", IDEMPOTENT)
def test_a_refused_request_may_be_put_right_and_sent_under_its_key_again(acme: Company, path: str) -> None:
    taken: dict[str, dict[str, object]] = {
        "/v1/corporations": {"name": acme.name},
        "/v1/users": {"email": acme.guest.email},
        "/v1/videos": {"corporation_id": acme.id + 1_000_000},
        "/v1/uploads": {"video_id": 2**62},
    }
    key, body = new_key(), body_for(path)
    assert send(acme.admin, path, {**body, **taken[path]}, key).status_code in {404, 409}
    assert send(acme.admin, path, {**body, "unknown": 1}, key).status_code == 422
    expect(send(acme.admin, path, body, key), 201)


@pytest.mark.parametrize("key", ["", '""', '"open', "a b", "k" * 256])
@pytest.mark.parametrize("path", IDEMPOTENT)
def test_a_broken_key_is_422_and_changes_nothing(acme: Company, path: str, key: str) -> None:
    refused = problem(send(acme.admin, path, body := body_for(path), key), 422, "invalid")
    assert refused["errors"][0]["field"] == "Idempotency-Key"
    expect(send(acme.admin, path, body, new_key()), 201)


@pytest.mark.parametrize("path", PROTECTED)
def test_the_same_key_of_another_user_is_another_key(acme: Company, rival: Company, path: str) -> None:
    key, colleague = new_key(), add_member(acme.admin, "admin")
    first = expect(send(acme.admin, path, body_for(path), key), 201)
    for other in (colleague, rival.admin):
        answer = send(other, path, body_for(path), key)
        assert expect(answer, 201)["id"] != first["id"]
        assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize("path", PROTECTED)
def test_a_kept_answer_is_only_for_a_caller_who_may_still(http: httpx.Client, path: str) -> None:
    company, key, body = found_company(http), new_key(), body_for(path)
    admin = add_member(company.admin, "admin")
    expect(send(admin, path, body, key), 201)
    headers = {"Idempotency-Key": key}
    problem(http.post(path, json=body, headers=headers), 401, "unauthenticated")
    expect(company.admin.call("PUT", f"/v1/users/{admin.id}", {"role": "guest"}), 200)
    problem(send(admin, path, body, key), 403, "forbidden")
    expect(company.admin.call("DELETE", f"/v1/users/{admin.id}"), 204)
    problem(send(admin, path, body, key), 401, "unauthenticated")


def test_a_strangers_key_gives_away_nothing(http: httpx.Client) -> None:
    body, key = body_for("/v1/corporations"), new_key()
    headers = {"Idempotency-Key": key}
    made = expect(http.post("/v1/corporations", json=body, headers=headers), 201)
    guessed = http.post("/v1/corporations", json={**body, "admin_password": "a wrong password"}, headers=headers)
    problem(guessed, 422, "idempotency-key-reused")
    assert made["name"] not in guessed.text
    answer = http.post("/v1/corporations", json=body, headers=headers)
    assert PASSWORD not in answer.text
    assert log_in(http, str(body["admin_email"]))["token_type"] == "Bearer"


def test_the_header_means_nothing_to_a_route_that_does_not_have_it(acme: Company) -> None:
    video, key = acme.video(), {"Idempotency-Key": "a b"}
    for status in (201, 200):
        expect(acme.guest.call("POST", "/v1/view-logs", {"video_id": video}, headers=key), status)


def test_guesses_at_a_sign_ups_password_by_its_key_are_limited(http: httpx.Client) -> None:
    body, headers = body_for("/v1/corporations"), {"Idempotency-Key": new_key()}
    expect(http.post("/v1/corporations", json=body, headers=headers), 201)
    guesses = [
        http.post("/v1/corporations", json={**body, "admin_password": f"guess {n} of it"}, headers=headers)
        for n in range(11)
    ]
    assert [guess.status_code for guess in guesses] == [422] * 10 + [429]
    refused = http.post("/v1/corporations", json=body, headers=headers)
    problem(refused, 429, "too-many-attempts")
    assert int(refused.headers["Retry-After"]) > 0
    expect(
        http.post("/v1/corporations", json=body_for("/v1/corporations"), headers={"Idempotency-Key": new_key()}), 201
    )


@pytest.mark.transports("over_http")
@pytest.mark.parametrize("path", IDEMPOTENT)
def test_sixteen_at_once_make_one_and_get_one_answer(http: httpx.Client, path: str) -> None:
    admin = found_company(http).admin
    before = len(ids(admin, path))
    body, key = body_for(path), new_key()
    answers: list[httpx.Response] = []
    start = threading.Barrier(16)

    def retry() -> None:
        start.wait(60)
        answers.append(send(admin, path, body, key))

    threads = [threading.Thread(target=retry) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [answer.status_code for answer in answers] == [201] * 16
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    if path == "/v1/corporations":
        owner = person(http, str(body["admin_email"]))
        assert ids(owner, "/v1/users") == [owner.id]
    else:
        assert len(ids(admin, path)) == before + 1
