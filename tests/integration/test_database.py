"""Round trips, the connection, transactions and migrations, on a real PostgreSQL."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.acts import of_database
from tests.e2e.clients import PASSWORD, PIXEL, Company, expect, found_company, problem, unique
from tests.in_process import context, load
from tests.service import Services
from vms import database, migrations
from vms.auth import Caller, Who
from vms.domain import corporations, sessions, users, views
from vms.passwords import hash_password

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement sent from here on: each is a round trip."""
    seen: list[str] = []
    original = psycopg.Connection.execute

    def execute(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        seen.append(str(query))
        return original(self, query, *arguments, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    return seen


def test_the_hot_requests_are_one_round_trip(acme: Company, statements: list[str]) -> None:
    video = acme.video()
    reads: list[tuple[str, str, object]] = [
        ("GET", f"/v1/videos/id/{video}", None),
        ("GET", "/v1/videos", None),
        ("GET", "/v1/auth/me", None),
        ("POST", "/v1/view-logs", {"video_id": video}),
        ("PUT", f"/v1/videos/{video}/progress", {"position": 5, "watched": [[0, 5]]}),
        ("GET", f"/v1/videos/{video}/progress", None),
        ("GET", f"/v1/view-logs/{acme.guest.id}/{video}", None),
        ("GET", f"/v1/users/id/{acme.guest.id}", None),
    ]
    for method, path, body in reads:
        statements.clear()
        assert acme.guest.call(method, path, body).is_success
        assert len(statements) == 1, path
    writes: list[tuple[str, str, object]] = [
        ("PUT", f"/v1/videos/{video}/poster", PIXEL),
        ("GET", f"/v1/videos/{video}/poster", None),
        (
            "POST",
            "/v1/corporations",
            {"name": unique("c"), "admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD},
        ),
        ("POST", "/v1/videos", {"name": "x", "file_path": "a"}),
        ("POST", "/v1/uploads", {"file_name": "x", "size": 5}),
        ("PUT", f"/v1/videos/{video}", {"name": "y"}),
        ("DELETE", f"/v1/videos/{video}", None),
        ("PUT", f"/v1/videos/{video}/restore", None),
    ]
    for method, path, body in writes:
        statements.clear()
        assert acme.admin.call(method, path, body).is_success
        assert len(statements) == 1, path


def test_an_idempotency_key_costs_a_constant_number_of_round_trips_and_no_password_hash_twice(
    acme: Company, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def hash_and_count(password: str) -> str:
        hashed.append(password)
        return hash_password(password)

    for module in (corporations, users):
        monkeypatch.setattr(module, "hash_password", hash_and_count)
    sign_up = {"name": unique("c"), "admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD}
    member = {"email": f"{unique('u')}@example.com", "password": PASSWORD}
    # The recall; BEGIN, the claim, the change, the answer and COMMIT. A new member's corporation is looked at before,
    # as without a key.
    for path, body, round_trips in [
        ("/v1/corporations", sign_up, 6),
        ("/v1/users", member, 7),
        ("/v1/videos", {"name": "x", "file_path": "a"}, 6),
    ]:
        headers = {"Idempotency-Key": unique("key")}
        statements.clear()
        expect(acme.admin.call("POST", path, body, headers=headers), 201)
        assert len(statements) == round_trips, path
        statements.clear()
        hashed.clear()
        expect(acme.admin.call("POST", path, body, headers=headers), 201)
        assert (len(statements), hashed) == (1, []), path


def test_the_view_and_its_points_are_one_statement(acme: Company, statements: list[str]) -> None:
    video = acme.video()
    caller = Caller(acme.guest.id, acme.id, Who.MEMBER)
    statements.clear()
    assert views.grant(caller, video) is True
    assert len(statements) == 1
    assert views.grant(caller, video) is False


def test_a_logged_view_is_raised_to_its_points_once(acme: Company) -> None:
    video = acme.video()
    caller = Caller(acme.guest.id, acme.id, Who.MEMBER)
    before = acme.guest.me()["point"]
    log, made = views.log(caller, video)
    assert (log.point, made) == (0, True)
    assert [views.grant(caller, video) for _ in range(3)] == [True, False, False]
    assert acme.guest.me()["point"] == before + 10
    assert views.log(caller, video)[0].point == 10


def test_a_lost_connection_is_replaced_without_the_caller_noticing(acme: Company, services: Services) -> None:
    expect(acme.guest.get("/v1/auth/me"), 200)
    pid = database.connection().info.backend_pid
    with psycopg.connect(services.database.superuser_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            pass
    expect(acme.guest.get("/v1/auth/me"), 200)
    assert database.connection().info.backend_pid != pid


def test_an_unreachable_database_is_503_with_retry_after(acme: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise psycopg.OperationalError("password=secret host=inside")

    database.close()
    monkeypatch.setattr(database, "open_connection", refuse)
    answer = acme.guest.get("/v1/auth/me")
    problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "secret" not in answer.text
    problem(acme.guest.http.get("/health"), 503, "unavailable")


def test_an_unforeseen_failure_is_500_and_tells_nothing(acme: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(users, "me", fail)
    answer = acme.guest.get("/v1/auth/me")
    problem(answer, 500, "internal")
    assert "inside" not in answer.text


def test_a_transaction_that_fails_changes_nothing(acme: Company) -> None:
    def fail() -> None:
        with database.transaction():
            database.fetch_all("UPDATE corporation SET name = 'half done' WHERE seq = %(id)s", {"id": acme.id})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    found = database.fetch_one("SELECT name FROM corporation WHERE seq = %(id)s", {"id": acme.id})
    assert found is not None
    assert found["name"] == acme.name


def test_the_schedule_turns_expired_plans_free_and_may_run_twice(http: httpx.Client) -> None:
    expired = found_company(http, plan_expire_at="2020-01-01T00:00:00Z")
    lasting = found_company(http, plan_expire_at="2040-01-01T00:00:00Z")
    endless = found_company(http)
    event = json.loads((Path(__file__).parents[2] / "events" / "plan_expiry.json").read_text("utf-8"))
    handler = load("plan_expiry").lambda_handler
    assert handler(event, context())["plans_expired"] >= 1
    assert handler(event, context())["plans_expired"] == 0
    plans = [
        (found["plan"], found["plan_expire_at"])
        for company in (expired, lasting, endless)
        for found in [expect(company.guest.get(f"/v1/corporations/id/{company.id}"), 200)]
    ]
    assert plans == [("FREE", None), ("PAID", "2040-01-01T00:00:00Z"), ("PAID", None)]


def test_expired_sessions_are_forgotten(acme: Company) -> None:
    database.fetch_all("UPDATE refresh_token SET expired_at = now() WHERE user_id = %(id)s", {"id": acme.guest.id})
    assert sessions.purge() >= 1
    assert corporations.expire_plans() == 0


def test_migrations_are_applied_once_even_by_two_at_the_same_time(services: Services, tmp_path: Path) -> None:
    with psycopg.connect(services.database.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE twice OWNER vms")
    url = of_database(services.database.owner_url, "twice")
    directory = Path(__file__).parents[2] / "sql" / "migrations"
    done: list[list[str]] = []
    threads = [threading.Thread(target=lambda: done.append(migrations.apply(url, directory))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    names = sorted(path.name for path in directory.glob("*.sql"))
    assert sorted(done) == [[], [], [], names]
    copy = tmp_path / "migrations"
    copy.mkdir()
    for path in directory.glob("*.sql"):
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "0099_broken.sql").write_text("CREATE TABLE half (a int); SELECT nonsense FROM nowhere;")
    with pytest.raises(migrations.MigrationError, match=r"0099_broken.sql failed: .*nowhere"):
        migrations.apply(url, copy)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
    (copy / "0099_broken.sql").write_text("SELECT 1;")
    (copy / names[0]).write_text("SELECT 2;")
    with pytest.raises(migrations.MigrationError, match="changed after it was applied"):
        migrations.apply(url, copy)
    (copy / "wrong.sql").write_text("SELECT 1;")
    with pytest.raises(migrations.MigrationError, match=r"wrong.sql is not named"):
        migrations.apply(url, copy)
    with pytest.raises(migrations.MigrationError, match="there are no migrations"):
        migrations.apply(url, tmp_path)


def test_the_migrate_function_brings_the_schema_up_to_date(environment: None) -> None:
    assert load("migrate").lambda_handler({}, context()) == {"applied": []}


def test_the_tables_are_the_entity_diagrams() -> None:
    rows = database.fetch_all(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'", {}
    )
    columns: dict[str, set[str]] = {}
    for row in rows:
        columns.setdefault(row["table_name"], set()).add(row["column_name"])
    diagram = {
        "corporation": {"seq", "name", "plan_type", "plan_expired_at", "created_at", "updated_at"},
        "user": {"seq", "email", "password", "role", "corporation_id", "point", "created_at", "updated_at"},
        "video": {"seq", "name", "file_path", "deleted", "corporation_id", "created_at", "updated_at"},
        "video_view_log": {"seq", "video_id", "user_id", "created_at", "point"},
        "refresh_token": {"seq", "token", "user_id", "expired_at", "created_at"},
    }
    for table, expected in diagram.items():
        assert expected <= columns[table]


def test_a_refresh_token_is_stored_as_a_hash_only(acme: Company) -> None:
    rows = database.fetch_all("SELECT token FROM refresh_token", {})
    assert rows
    assert all(len(row["token"]) == 64 for row in rows)
    assert acme.guest.tokens["refresh_token"] not in {row["token"] for row in rows}
