"""A failing, changing or read-only database: callers get 503 with Retry-After at worst, and never its text."""

import logging
from collections.abc import Callable, Iterator

import httpx
import pytest
from psycopg import sql

from tests.acts import ACTS, Act, Stage, create_database, staged
from tests.e2e.clients import PASSWORD, add_member, expect, problem, unique
from tests.service import Services
from vms import database
from vms.database import DatabaseFailed
from vms.errors import Unavailable

pytestmark = pytest.mark.usefixtures("environment")

TABLES = (
    "corporation",
    "user",
    "video",
    "video_view_log",
    "refresh_token",
    "login_attempt",
    "idempotency_key",
    "stream_lease",
    "upload",
    "video_progress",
    "video_poster",
    "activity",
    "activity_total",
    "viewer_presence",
)
SECRET = "a row's secret"


@pytest.fixture(scope="module")
def stage(environment: dict[str, str], http: httpx.Client, services: Services) -> Iterator[Stage]:
    """A company in a database of its own, whose schema these tests change."""
    with staged(http, services, *create_database(services, "outages")) as found:
        yield found


@pytest.fixture
def reads(stage: Stage) -> list[tuple[str, int]]:
    """What the company's admin may read, and the status of each."""
    company, user, video = stage.company.id, stage.company.guest, stage.company.video(file_path=stage.film)
    return [
        ("/v1/corporations", 200),
        (f"/v1/corporations/id/{company}", 200),
        ("/v1/auth/me", 200),
        (f"/v1/tokens/{user.id}", 200),
        ("/v1/users", 200),
        (f"/v1/users/id/{user.id}", 200),
        (f"/v1/users/{user.email}", 200),
        ("/v1/videos", 200),
        (f"/v1/videos/{company}?deleted=true", 200),
        (f"/v1/videos/id/{video}", 200),
        (f"/v1/videos/stream/{video}", 200),
        ("/v1/videos?q=video", 200),
        ("/v1/uploads", 200),
        (f"/v1/videos/{video}/progress", 200),
        (f"/v1/view-logs/{user.id}", 200),
        (f"/v1/view-logs/{user.id}/{video}", 200),
        *((f"/v1/reports/{report}", 200) for report in ("videos", "members", "views")),
        ("/health", 200),
    ]


def run(stage: Stage, acts: list[Act], reads: list[tuple[str, int]]) -> None:
    """Each of these requests is answered as ever."""
    assert [(path, stage.company.admin.get(path).status_code) for path, _ in reads] == reads
    for act in acts:
        answer = act.call()
        assert answer.status_code == act.status, answer.text
        assert act.times() == 1


def warm(stage: Stage, reads: list[tuple[str, int]]) -> list[Act]:
    """Have every statement prepared on this process's connection; returns requests that will use them."""
    acts = [arrange(stage) for arrange in ACTS]
    for _ in range(2):
        run(stage, [arrange(stage) for arrange in ACTS], reads)
    return acts


def alter(stage: Stage, template: str, table: str, column: str = "") -> None:
    stage.own.execute(sql.SQL(template).format(table=sql.Identifier(table), column=sql.Identifier(column or "x")))


@pytest.mark.parametrize("table", TABLES)
def test_a_column_added_under_warm_functions_is_not_noticed(
    stage: Stage, reads: list[tuple[str, int]], table: str
) -> None:
    acts = warm(stage, reads)
    alter(stage, "ALTER TABLE {table} ADD COLUMN {column} text", table, unique("added"))
    run(stage, acts, reads)


def columns(stage: Stage) -> list[tuple[str, str, str]]:
    """Each column of text, integer or numeric, and the wider or narrower type that it can become."""
    rows = stage.own.execute(
        """SELECT table_name, column_name, CASE data_type WHEN 'text' THEN 'varchar(4000)'
            WHEN 'integer' THEN 'bigint' ELSE 'numeric(30, 6)' END
        FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('text', 'integer', 'numeric')
              AND table_name <> 'schema_migration'"""
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def test_a_columns_type_changed_under_warm_functions_is_not_noticed(stage: Stage, reads: list[tuple[str, int]]) -> None:
    changed = columns(stage)
    assert {table for table, _, _ in changed} == set(TABLES)
    for table in TABLES:
        acts = warm(stage, reads)
        for _, column, kind in (each for each in changed if each[0] == table):
            alter(stage, "ALTER TABLE {table} ALTER COLUMN {column} TYPE " + kind, table, column)
        run(stage, acts, reads)


def test_statements_that_a_pooler_has_deallocated_are_prepared_anew(stage: Stage, reads: list[tuple[str, int]]) -> None:
    acts = warm(stage, reads)
    for act in acts:
        # Beneath psycopg, which would notice.
        database.connection().pgconn.exec_(b"DEALLOCATE ALL")
        run(stage, [act], [])
    for path, status in reads:
        database.connection().pgconn.exec_(b"DEALLOCATE ALL")
        assert stage.company.admin.get(path).status_code == status


@pytest.mark.parametrize("arrange", ACTS, ids=lambda arrange: arrange.__name__)
def test_a_read_only_database_is_503_and_another_connection_is_made(
    stage: Stage, arrange: Callable[[Stage], Act]
) -> None:
    act = arrange(stage)
    database.fetch_all("SET default_transaction_read_only = on", {})
    pid = database.connection().info.backend_pid
    answer = act.call()
    problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert database.connection().info.backend_pid != pid
    assert act.times() == 0
    run(stage, [act], [])


def test_what_reads_is_answered_by_a_read_only_database(stage: Stage, reads: list[tuple[str, int]]) -> None:
    stage.company.admin.get(reads[10][0])  # the view is granted
    database.fetch_all("SET default_transaction_read_only = on", {})
    pid = database.connection().info.backend_pid
    run(stage, [], reads)
    assert database.connection().info.backend_pid == pid
    database.close()


@pytest.mark.parametrize("arrange", ACTS, ids=lambda arrange: arrange.__name__)
def test_a_backend_terminated_between_two_requests_is_not_noticed(
    stage: Stage, arrange: Callable[[Stage], Act]
) -> None:
    act = arrange(stage)
    pid = database.connection().info.backend_pid
    stage.own.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
    run(stage, [act], [])


def test_too_many_connections_are_503_until_one_is_free(stage: Stage) -> None:
    database.close()
    stage.own.execute("ALTER ROLE vms_app CONNECTION LIMIT 0")
    try:
        for path in ("/v1/auth/me", "/health"):
            answer = stage.company.admin.get(path)
            problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        stage.own.execute("ALTER ROLE vms_app CONNECTION LIMIT -1")
    expect(stage.company.admin.get("/v1/auth/me"), 200)


# One of each class of vms.database's table: the error, and whether the connection is let go of.
STATES = [
    *((state, Unavailable, True) for state in ("08006", "53100", "53200", "53300", "57P01", "57P02", "57P03", "58030")),
    *((state, Unavailable, True) for state in ("25006", "XX000", "26000", "0A000", "42P05")),
    *((state, Unavailable, False) for state in ("40001", "40P01", "55P03", "57014")),
    *((state, DatabaseFailed, False) for state in ("42P01", "42501", "22012", "23503", "23502", "23514")),
]
RAISE = """DO $$ BEGIN
    RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'a row''s secret', DETAIL = 'a row''s secret';
END $$"""


@pytest.mark.parametrize(("state", "expected", "gone"), STATES)
def test_what_an_sqlstate_means(
    stage: Stage, caplog: pytest.LogCaptureFixture, state: str, expected: type[Exception], gone: bool
) -> None:
    pid = database.connection().info.backend_pid
    statement = RAISE.replace("{}", state)
    with caplog.at_level(logging.DEBUG), pytest.raises(expected) as raised:
        database.fetch_all(statement, {})
    assert SECRET not in str(raised.value) + caplog.text
    assert state in caplog.text
    assert (database.connection().info.backend_pid != pid) is gone


@pytest.mark.parametrize("state", ["23502", "23514", "22001", "P0001", "XX000"])
def test_no_text_of_the_database_reaches_a_log_or_a_caller(
    stage: Stage, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, state: str
) -> None:
    function = f"""CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $f$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'a row''s secret: ' || new; END $f$"""
    stage.own.execute(function)
    stage.own.execute("CREATE TRIGGER fail BEFORE INSERT ON video FOR EACH ROW EXECUTE FUNCTION fail()")
    try:
        body = {"name": "the row's name", "file_path": "x"}
        answer = stage.company.admin.call("POST", "/v1/videos", body)
    finally:
        stage.own.execute("DROP TRIGGER fail ON video")
    assert answer.status_code == (503 if state == "XX000" else 500)
    told = capfd.readouterr()
    for text in (answer.text, told.out, told.err, caplog.text):
        assert SECRET not in text
        assert "the row's name" not in text
    assert state in caplog.text


def test_a_name_that_grows_by_its_normal_form_is_422_and_no_row_is_logged(
    stage: Stage, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    email = f"{unique('admin')}@example.com"
    body = {"name": "\u0958" * 100, "admin_email": email, "admin_password": PASSWORD}
    problem(stage.http.post("/v1/corporations", json=body), 422, "invalid")
    video = {"name": "\u0958" * 255, "file_path": "x"}
    problem(stage.company.admin.call("POST", "/v1/videos", video), 422, "invalid")
    body["name"] = "\u0958" * 50
    assert len(expect(stage.http.post("/v1/corporations", json=body), 201)["name"]) == 100
    told = capfd.readouterr()
    assert email not in told.out + told.err + caplog.text
    assert add_member(stage.company.admin).me()["point"] == 0
