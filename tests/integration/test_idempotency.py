"""Kept answers under races, crashes and the clock, on a real PostgreSQL."""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.clients import PASSWORD, Company, expect, found_company, problem, unique
from tests.in_process import context, load
from tests.service import Services
from vms import api, database
from vms.domain import answers
from vms.idempotency import IdempotencyKey, name_request

pytestmark = pytest.mark.usefixtures("environment")

BODY = {"name": "x", "file_path": "a.mp4"}


def send(company: Company, key: str, body: dict[str, str] = BODY) -> httpx.Response:
    return company.admin.call("POST", "/v1/videos", body, headers={"Idempotency-Key": key})


def named(company: Company, key: str, body: dict[str, str] = BODY) -> IdempotencyKey:
    return name_request([key], company.admin.id, "POST /v1/videos", body, str)


def videos(company: Company) -> list[int]:
    return [item["id"] for item in expect(company.admin.get("/v1/videos?limit=100"), 200)["items"]]


def kept() -> list[dict[str, Any]]:
    return database.fetch_all("SELECT key, fingerprint, answer, expires_at FROM idempotency_key", {})


@pytest.fixture
def company(http: httpx.Client) -> Company:
    database.fetch_all("DELETE FROM idempotency_key", {})
    return found_company(http)


def while_another_has_the_key(
    services: Services,
    key: IdempotencyKey,
    answer: str,
    end: Callable[[psycopg.Connection[Any]], None],
    call: Callable[[], Any],
) -> Any:
    """What `call` returns when another transaction has taken this key and ends in this way while `call` waits."""
    pid = database.connection().info.backend_pid
    waited: list[bool] = []
    with psycopg.connect(services.database.url) as other:
        other.execute(
            """INSERT INTO idempotency_key (key, fingerprint, answer, expires_at)
            VALUES (%s, %s, %s, now() + interval '24 hours')""",
            (key.digest, key.fingerprint, answer),
        )

        def end_once_it_waits() -> None:
            with psycopg.connect(services.database.superuser_url, autocommit=True) as watcher:
                deadline = time.monotonic() + 20
                while not waited and time.monotonic() < deadline:
                    row = watcher.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,))
                    if row.fetchone() == ("Lock",):
                        waited.append(True)
            end(other)

        thread = threading.Thread(target=end_once_it_waits)
        thread.start()
        try:
            return call()
        finally:
            thread.join(30)
            assert waited


def test_the_second_waits_for_the_first_and_gets_its_answer(company: Company, services: Services) -> None:
    key = str(uuid.uuid4())
    answer = while_another_has_the_key(
        services, named(company, key), '{"id":7}', lambda other: other.commit(), lambda: send(company, key)
    )
    assert (expect(answer, 201), answer.headers["Idempotency-Replayed"]) == ({"id": 7}, "true")
    assert videos(company) == []


def test_the_second_with_another_body_waits_and_is_422(company: Company, services: Services) -> None:
    key = str(uuid.uuid4())
    first = named(company, key, {**BODY, "name": "y"})
    answer = while_another_has_the_key(services, first, "{}", lambda other: other.commit(), lambda: send(company, key))
    problem(answer, 422, "idempotency-key-reused")
    assert videos(company) == []


def test_the_second_goes_on_itself_when_the_first_was_rolled_back(company: Company, services: Services) -> None:
    key = str(uuid.uuid4())
    answer = while_another_has_the_key(
        services, named(company, key), "{}", lambda other: other.rollback(), lambda: send(company, key)
    )
    assert "Idempotency-Replayed" not in answer.headers
    assert videos(company) == [expect(answer, 201)["id"]]
    assert expect(send(company, key), 201)["id"] == answer.json()["id"]


def test_who_waits_too_long_is_503_and_may_try_again(company: Company, services: Services) -> None:
    key = str(uuid.uuid4())
    taken = named(company, key)
    database.fetch_all("SET lock_timeout = '100ms'", {})
    with psycopg.connect(services.database.url) as other:
        other.execute(
            "INSERT INTO idempotency_key (key, fingerprint, expires_at) VALUES (%s, %s, now() + interval '24 hours')",
            (taken.digest, taken.fingerprint),
        )
        answer = send(company, key)
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        other.rollback()
    database.close()  # and the time-out with it
    made = expect(send(company, key), 201)
    assert videos(company) == [made["id"]]


def test_a_crash_between_the_change_and_its_answer_leaves_neither(
    company: Company, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid.uuid4())

    def crash(made: object) -> str:
        with psycopg.connect(services.database.superuser_url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", (database.connection().info.backend_pid,))
        return str(made)

    monkeypatch.setattr(api, "_serialize", crash)
    problem(send(company, key), 503, "unavailable")
    monkeypatch.undo()
    assert (videos(company), kept()) == ([], [])
    answer = send(company, key)
    assert "Idempotency-Replayed" not in answer.headers
    assert videos(company) == [expect(answer, 201)["id"]]


def test_a_change_whose_commit_was_not_heard_of_is_answered_by_the_next_try(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid.uuid4())
    execute = psycopg.Connection.execute

    def lose_the_answer(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        done = execute(self, query, *arguments, **more)
        if query == "COMMIT":
            raise psycopg.OperationalError("the connection is lost")
        return done

    monkeypatch.setattr(psycopg.Connection, "execute", lose_the_answer)
    problem(send(company, key), 503, "unavailable")
    monkeypatch.undo()
    answer = send(company, key)
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert videos(company) == [expect(answer, 201)["id"]]


def test_an_answer_is_kept_for_24_hours_and_the_key_is_then_a_new_one(company: Company) -> None:
    key = str(uuid.uuid4())
    first = expect(send(company, key), 201)["id"]
    [row] = database.fetch_all(
        "SELECT expires_at - now() > '23:59' AND expires_at - now() <= '24:00' AS fits FROM idempotency_key", {}
    )
    assert row["fits"]
    database.fetch_all("UPDATE idempotency_key SET expires_at = now()", {})
    other = {**BODY, "name": "y"}
    second = expect(send(company, key, other), 201)["id"]
    assert videos(company) == [second, first]
    assert expect(send(company, key, other), 201)["id"] == second
    problem(send(company, key), 422, "idempotency-key-reused")


def test_the_schedule_forgets_what_has_expired_and_nothing_else(company: Company) -> None:
    expired, lasting = (str(uuid.uuid4()) for _ in range(2))
    for key in (expired, lasting):
        expect(send(company, key), 201)
    database.fetch_all(
        "UPDATE idempotency_key SET expires_at = now() WHERE key = %(key)s", {"key": named(company, expired).digest}
    )
    handler = load("plan_expiry").lambda_handler
    assert [handler({}, context())["answers_purged"] for _ in range(2)] == [1, 0]
    assert [row["key"] for row in kept()] == [named(company, lasting).digest]


def test_what_is_refused_is_not_kept_and_costs_no_connection(company: Company) -> None:
    foreign = {**BODY, "corporation_id": company.id + 1_000_000}
    key = str(uuid.uuid4())
    pid = database.connection().info.backend_pid
    refused = company.admin.call("POST", "/v1/videos", foreign, headers={"Idempotency-Key": key})
    problem(refused, 404, "not-found")
    assert (kept(), database.in_transaction(), database.connection().info.backend_pid) == ([], False, pid)
    taken = {"name": company.name, "admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD}
    problem(company.admin.http.post("/v1/corporations", json=taken, headers={"Idempotency-Key": key}), 409, "conflict")
    assert kept() == []


def test_nothing_secret_is_stored(company: Company) -> None:
    key, password = str(uuid.uuid4()), "a very good password"
    member = {"email": f"{unique('u')}@example.com", "password": password}
    owner = {"name": unique("c"), "admin_email": f"{unique('a')}@example.com", "admin_password": password}
    expect(company.admin.call("POST", "/v1/users", member, headers={"Idempotency-Key": key}), 201)
    expect(company.admin.http.post("/v1/corporations", json=owner, headers={"Idempotency-Key": key}), 201)
    stored = " ".join(str(value) for row in kept() for value in row.values())
    assert len(kept()) == 2
    guesses = [key, password, *(hashlib.sha256(text.encode()).hexdigest() for text in (key, password))]
    requests = [
        name_request([key], None, "POST /v1/corporations", owner, str).request,
        name_request([key], company.admin.id, "POST /v1/users", member, str).request,
    ]
    assert not [text for text in (*guesses, *requests) if text in stored]
    assert '"password"' not in stored
    assert "admin_email" not in stored


def test_an_answer_that_expires_while_it_is_waited_for_is_503(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_claim", lambda *_: False)
    problem(send(company, str(uuid.uuid4())), 503, "unavailable")
    assert (videos(company), database.in_transaction()) == ([], False)
