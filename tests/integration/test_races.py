"""What happens while another transaction holds a lock: the order is forced, nothing is left to timing."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import bcrypt
import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.e2e.clients import PASSWORD, Company, Person, add_member, expect, found_company, log_in, problem, unique
from tests.e2e.films import put
from tests.service import Service, Services
from vms import database

pytestmark = pytest.mark.usefixtures("environment")

type Connection = psycopg.Connection[tuple[Any, ...]]

CORPORATION = "SELECT seq FROM corporation WHERE seq = %s FOR UPDATE"
USER = 'SELECT seq FROM "user" WHERE seq = %s FOR UPDATE'
NEW_PASSWORD = "another horse 2"
THIRD_HASH = bcrypt.hashpw(b"a third horse", bcrypt.gensalt(4)).decode()


@pytest.fixture
def other(services: Services) -> Iterator[Connection]:
    """A connection of another execution environment, with a transaction open."""
    with psycopg.connect(services.database.url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def watcher(services: Services) -> Iterator[Connection]:
    url = make_conninfo(services.database.superuser_url, dbname=conninfo_to_dict(services.database.url)["dbname"])
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@contextmanager
def once_blocked(watcher: Connection, action: Callable[[], object]) -> Iterator[None]:
    """Do the action, in a thread, as soon as this process's connection waits for a lock. Fails if it never does."""
    pid = database.connection().info.backend_pid
    done: list[bool] = []

    def watch() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            row = watcher.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
            if row == ("Lock",):
                action()
                done.append(True)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert done, "it never waited for a lock"


def refresh(person: Person) -> httpx.Response:
    return person.http.post("/v1/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]})


def live_sessions(watcher: Connection, user: Person) -> int:
    row = watcher.execute(
        "SELECT count(*) FROM refresh_token WHERE user_id = %s AND revoked_at IS NULL", (user.id,)
    ).fetchone()
    assert row is not None
    return int(row[0])


# What revokes sessions, by a request of the user's.
REVOCATIONS: dict[str, Callable[[Person], httpx.Response]] = {
    "log out everywhere": lambda user: user.call("DELETE", f"/v1/tokens/{user.id}"),
    "new password": lambda user: user.call(
        "PUT", f"/v1/users/{user.id}", {"password": NEW_PASSWORD, "current_password": PASSWORD}
    ),
    "log out": lambda user: user.call("POST", "/v1/auth/logout", {"refresh_token": user.tokens["refresh_token"]}),
    "delete user": lambda user: user.call("DELETE", f"/v1/users/{user.id}"),
}

# What issues a token, as the statements of another execution environment do it: the user's row is locked first.
ISSUE = """INSERT INTO refresh_token (token, user_id, family, generation, expired_at)
    SELECT repeat('0', 32) || md5(random()::text), %(user)s, t.family, t.generation + 1, now() + interval '1 day'
    FROM refresh_token t WHERE t.user_id = %(user)s"""


@pytest.mark.parametrize("revoke", REVOCATIONS.values(), ids=REVOCATIONS)
def test_a_revocation_ends_the_session_that_is_being_issued_beside_it(
    acme: Company, other: Connection, watcher: Connection, revoke: Callable[[Person], httpx.Response]
) -> None:
    user = add_member(acme.admin)
    other.execute('SELECT seq FROM "user" WHERE seq = %s FOR NO KEY UPDATE', (user.id,))
    other.execute(ISSUE, {"user": user.id})
    with once_blocked(watcher, other.commit):
        answer = revoke(user)
    assert answer.is_success, answer.text
    assert live_sessions(watcher, user) == 0


REVOKED = {
    "log out everywhere": 'UPDATE "user" SET epoch = epoch + 1 WHERE seq = %(user)s',
    "new password": 'UPDATE "user" SET epoch = epoch + 1, password = %(hash)s WHERE seq = %(user)s',
    "delete user": 'UPDATE "user" SET deleted_at = now() WHERE seq = %(user)s',
}
REVOKE_SESSIONS = "UPDATE refresh_token SET revoked_at = now() WHERE user_id = %(user)s AND revoked_at IS NULL"


@pytest.mark.parametrize("change", REVOKED.values(), ids=REVOKED)
def test_a_refresh_that_waits_for_a_revocation_is_401(
    acme: Company, other: Connection, watcher: Connection, change: Any
) -> None:
    user = add_member(acme.admin)
    other.execute(change, {"user": user.id, "hash": THIRD_HASH})
    other.execute(REVOKE_SESSIONS, {"user": user.id})
    with once_blocked(watcher, other.commit):
        answer = refresh(user)
    problem(answer, 401, "unauthenticated")
    assert live_sessions(watcher, user) == 0


@pytest.mark.parametrize(
    "change", [REVOKED["new password"], REVOKED["delete user"]], ids=["new password", "delete user"]
)
def test_a_log_in_with_what_is_being_changed_is_401(
    acme: Company, other: Connection, watcher: Connection, change: Any
) -> None:
    user = add_member(acme.admin)
    other.execute(change, {"user": user.id, "hash": THIRD_HASH})
    other.execute(REVOKE_SESSIONS, {"user": user.id})
    with once_blocked(watcher, other.commit):
        answer = user.http.post("/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    problem(answer, 401, "unauthenticated")
    assert live_sessions(watcher, user) == 0


def test_two_log_ins_at_once_that_hash_anew_both_succeed(acme: Company, other: Connection, watcher: Connection) -> None:
    user = add_member(acme.admin)
    # The other log-in has stored the same password under another salt.
    row = watcher.execute('SELECT password FROM "user" WHERE seq = %s', (acme.admin.id,)).fetchone()
    other.execute('UPDATE "user" SET password = %s WHERE seq = %s', (row and row[0], user.id))
    with once_blocked(watcher, other.commit):
        answer = user.http.post("/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    expect(answer, 200)


def test_ones_own_password_cannot_be_changed_by_a_proof_that_no_longer_holds(
    acme: Company, other: Connection, watcher: Connection
) -> None:
    user = add_member(acme.admin)
    row = watcher.execute('SELECT password FROM "user" WHERE seq = %s', (user.id,)).fetchone()
    other.execute(REVOKED["new password"], {"user": user.id, "hash": THIRD_HASH})
    with once_blocked(watcher, other.commit):
        answer = REVOCATIONS["new password"](user)
    problem(answer, 422, "invalid")
    now = watcher.execute('SELECT password FROM "user" WHERE seq = %s', (user.id,)).fetchone()
    assert now == (THIRD_HASH,) != row


def add_video(company: Company, video: int) -> httpx.Response:
    return company.admin.call("POST", "/v1/videos", {"name": "late", "file_path": "x"})


def add_user(company: Company, video: int) -> httpx.Response:
    return company.admin.call("POST", "/v1/users", {"email": f"{unique('late')}@example.com", "password": PASSWORD})


def restore(company: Company, video: int) -> httpx.Response:
    return company.admin.call("PUT", f"/v1/videos/{video}/restore")


DELETE_CORPORATION = """WITH gone AS (UPDATE corporation SET deleted_at = now() WHERE seq = %(id)s),
    users AS (UPDATE "user" SET deleted_at = now() WHERE corporation_id = %(id)s)
    UPDATE video SET deleted = true WHERE corporation_id = %(id)s"""


@pytest.mark.parametrize("child", [add_video, add_user, restore])
def test_a_corporation_that_is_being_deleted_gets_no_child(
    http: httpx.Client, other: Connection, watcher: Connection, child: Callable[[Company, int], httpx.Response]
) -> None:
    company = found_company(http)
    video = company.video()
    expect(company.admin.call("DELETE", f"/v1/videos/{video}"), 204)
    other.execute(CORPORATION, (company.id,))
    other.execute(DELETE_CORPORATION, {"id": company.id})
    with once_blocked(watcher, other.commit):
        answer = child(company, video)
    assert answer.status_code in {401, 404}
    assert living(watcher, company) == (0, 0)


def living(watcher: Connection, company: Company) -> tuple[int, int]:
    row = watcher.execute(
        """SELECT (SELECT count(*) FROM video WHERE corporation_id = %(id)s AND NOT deleted),
            (SELECT count(*) FROM "user" WHERE corporation_id = %(id)s AND deleted_at IS NULL)""",
        {"id": company.id},
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize(
    "child",
    [
        "INSERT INTO video (name, file_path, corporation_id) VALUES ('late', 'x', %(id)s)",
        """INSERT INTO "user" (email, email_key, password, corporation_id)
        VALUES ('late-' || %(id)s || '@example.com', 'late-' || %(id)s || '@example.com', 'x', %(id)s)""",
        "UPDATE video SET deleted = false WHERE corporation_id = %(id)s",
    ],
    ids=["video", "user", "restore"],
)
def test_a_deletion_that_waits_for_a_child_takes_it_along(
    http: httpx.Client, other: Connection, watcher: Connection, child: Any
) -> None:
    company = found_company(http)
    expect(company.admin.call("DELETE", f"/v1/videos/{company.video()}"), 204)
    other.execute("SELECT seq FROM corporation WHERE seq = %s FOR KEY SHARE", (company.id,))
    other.execute(child, {"id": company.id})
    with once_blocked(watcher, other.commit):
        expect(company.admin.call("DELETE", f"/v1/corporations/{company.id}"), 204)
    assert living(watcher, company) == (0, 0)


@pytest.mark.transports("over_http")
def test_corporations_deleted_while_children_are_added_leave_nothing_alive(
    http: httpx.Client, service: Service
) -> None:
    for _ in range(3):
        company = found_company(http)
        videos = [company.video() for _ in range(4)]
        for video in videos:
            expect(company.admin.call("DELETE", f"/v1/videos/{video}"), 204)
        with ThreadPoolExecutor(12) as pool:
            added = [pool.submit(add_video, company, 0) for _ in range(6)]
            added += [pool.submit(restore, company, video) for video in videos]
            added += [pool.submit(add_user, company, 0)]
            deleted = pool.submit(company.admin.call, "DELETE", f"/v1/corporations/{company.id}")
        expect(deleted.result(), 204)
        assert {each.result().status_code for each in added} <= {200, 201, 401, 404}
        problem(company.admin.get("/v1/videos"), 401, "unauthenticated")
        with psycopg.connect(service.environment["DATABASE_URL"]) as connection:
            assert living(connection, company) == (0, 0)


def test_a_locked_user_is_503_within_the_lock_timeout_and_all_others_are_answered(
    acme: Company, other: Connection, services: Services
) -> None:
    held, free = add_member(acme.admin), add_member(acme.admin)
    video = acme.video(file_path=put(services.storage, acme, b"film"))
    row = database.fetch_one("SHOW lock_timeout", {})
    assert row == {"lock_timeout": "2s"}
    other.execute(USER, (held.id,))
    assert free.get(f"/v1/videos/stream/{video}").content == b"film"
    assert free.me()["point"] == 10
    for method, path in (("GET", f"/v1/videos/stream/{video}"), ("DELETE", f"/v1/tokens/{held.id}")):
        answer = held.call(method, path)
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert held.me()["point"] == 0  # what reads does not wait
    other.rollback()
    assert held.get(f"/v1/videos/stream/{video}").content == b"film"
    assert held.me()["point"] == 10


def test_of_two_admins_who_demote_each_other_one_stays(
    http: httpx.Client, other: Connection, watcher: Connection
) -> None:
    company = found_company(http)
    second = add_member(company.admin, "admin")
    other.execute("SELECT seq FROM corporation WHERE seq = %s FOR NO KEY UPDATE", (company.id,))
    other.execute("""UPDATE "user" SET role = 'guest' WHERE seq = %s""", (second.id,))
    with once_blocked(watcher, other.commit):
        answer = company.admin.call("PUT", f"/v1/users/{company.admin.id}", {"role": "guest"})
    problem(answer, 409, "conflict")


def test_a_session_family_survives_a_log_out_of_another(acme: Company, other: Connection, watcher: Connection) -> None:
    user = add_member(acme.admin)
    second = log_in(user.http, user.email)
    other.execute(USER, (user.id,))
    with once_blocked(watcher, other.rollback):
        expect(user.call("POST", "/v1/auth/logout", {"refresh_token": second["refresh_token"]}), 204)
    expect(refresh(user), 200)
    again = user.http.post("/v1/auth/refresh", json={"refresh_token": second["refresh_token"]})
    problem(again, 401, "unauthenticated")
