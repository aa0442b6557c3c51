"""What the operator reads: the export of a corporation, and one statement of its own. Neither shows a secret."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.acts import Stage, create_database, of_database, staged
from tests.e2e.clients import Company, expect, found_company
from tests.in_process import context, load
from tests.integration.test_purge import LATER, Place, of_company, users_of
from tests.service import Services
from vms.operator import catalog, export
from vms.reading import READER, SECRETS

# Every column that a person who exports, or reads by SQL, is shown. A new one is a decision: shown, or in SECRETS.
SHOWN = {
    "corporation": {
        "seq",
        "name",
        "plan_type",
        "plan_expired_at",
        "created_at",
        "updated_at",
        "deleted_at",
        "name_key",
    },
    "user": {
        *("seq", "email", "role", "corporation_id", "point", "created_at", "updated_at", "deleted_at", "email_key"),
        "epoch",
    },
    "video": {
        *("seq", "name", "file_path", "deleted", "corporation_id", "created_at", "updated_at", "name_key", "size"),
        *("duration", "width", "height", "content_type", "browser_playable", "detail"),
    },
    "upload": {
        *("seq", "corporation_id", "video_id", "replaces", "name", "file_name", "file_path", "size", "part_size"),
        *("s3_upload_id", "status", "leftover", "expires_at", "created_at", "updated_at"),
    },
    "video_progress": {
        *("user_id", "video_id", "position", "watched", "watched_seconds", "reported_at", "completed_at"),
    },
    "video_poster": {"video_id", "content_type", "etag", "content"},
    "activity": {"user_id", "video_id", "bucket", "corporation_id", "views", "completions", "points", "seconds"},
    "activity_total": {"kind", "subject", "bucket", "views", "viewers", "completions", "points", "seconds"},
    "viewer_presence": {"user_id", "bucket", "corporation_id"},
    "video_view_log": {"seq", "video_id", "user_id", "point", "created_at"},
    "refresh_token": {
        *("seq", "user_id", "family", "expired_at", "revoked_at", "created_at", "generation", "rotated_at"),
    },
    "stream_lease": {"user_id", "slot", "lease", "expires_at"},
    "login_attempt": {"failures", "ends_at"},
    "idempotency_key": {"expires_at"},
}


@pytest.fixture(scope="module")
def stage(environment: dict[str, str], http: httpx.Client, services: Services) -> Iterator[Stage]:
    with staged(http, services, *create_database(services, "reading")) as found:
        yield found


def operate(action: str, **event: Any) -> Any:
    return load("operator").lambda_handler({"action": action, **event}, context())


def rows(statement: str, **more: Any) -> list[list[str]]:
    """The rows of a statement without their head."""
    return list(csv.reader(io.StringIO(operate("sql", statement=statement, **more)["csv"])))[1:]


def refused(statement: str, **more: Any) -> str:
    answer = operate("sql", statement=statement, **more)
    assert set(answer) == {"refused"}, answer
    return str(answer["refused"])


def exported(company: int) -> list[dict[str, Any]]:
    """All lines of an export."""
    lines: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = operate("export", corporation=company, cursor=cursor)
        assert len(json.dumps(page)) < 6_000_000
        lines += page["lines"]
        cursor = page["next_cursor"]
        if cursor is None:
            return lines


def test_every_column_is_shown_or_a_secret(stage: Stage) -> None:
    found: dict[str, set[str]] = {}
    for table, column in stage.own.execute(
        """SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
        AND table_name <> 'schema_migration'"""
    ):
        if column not in SECRETS.get(table, ()):
            found.setdefault(table, set()).add(column)
    assert found == SHOWN
    readable: dict[str, set[str]] = {}
    for table, column in stage.own.execute(
        """SELECT table_name, column_name FROM information_schema.column_privileges
        WHERE grantee = %s AND privilege_type = 'SELECT' AND table_schema = 'public'""",
        (READER,),
    ):
        readable.setdefault(table, set()).add(column)
    assert readable == SHOWN
    may = stage.value("SELECT count(*) FROM information_schema.table_privileges WHERE grantee = %s", READER)
    assert may == 0
    assert stage.value("SELECT count(*) FROM pg_roles WHERE rolname = %s AND NOT rolcanlogin", READER) == 1


def test_an_export_has_every_row_of_a_corporation_and_no_secret(
    environment: dict[str, str], http: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = create_database(services, "exports")
    with psycopg.connect(of_database(services.database.owner_url, "exports"), autocommit=True) as owner:
        owner.execute(LATER)
    with staged(http, services, *urls) as stage:
        neighbour, company = found_company(http), found_company(http)
        for each in (neighbour, company):
            each.videos = [each.video() for _ in range(5)]
            for video in each.videos:
                expect(each.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
            stage.own.execute(
                "INSERT INTO stream_lease SELECT %s, g, gen_random_uuid(), now() FROM generate_series(1, 3) g",
                (each.guest.id,),
            )
            album = stage.value(
                "INSERT INTO album (corporation_id, cover) VALUES (%s, '\\xcafe') RETURNING seq", each.id
            )
            for video in each.videos:
                stage.own.execute("INSERT INTO album_video VALUES (%s, %s)", (album, video))
        place = Place(stage, None, environment)  # type: ignore[arg-type]  # no file is looked at
        own = of_company(place.rows(), company, users_of(place, company))
        wanted = {
            table: Counter(
                json.dumps(
                    {k: v for k, v in json.loads(text).items() if k not in SECRETS.get(table, ())}, sort_keys=True
                )
                for text in texts
            )
            for table, texts in own.items()
            if texts
        }
        monkeypatch.setattr(export, "ROWS", 2)
        for most in (4_000_000, 1_000, 1):  # in a page, in some, in one for each row
            monkeypatch.setattr(export, "MOST", most)
            lines = exported(company.id)
            found: dict[str, Counter[str]] = {}
            for line in lines:
                found.setdefault(line["table"], Counter())[json.dumps(line["row"], sort_keys=True)] += 1
            assert found == wanted
        assert lines[0]["table"] == "corporation"
        assert not {"password", "token"} & {column for line in lines for column in line["row"]}
        assert catalog.read().wide == {"album", "video_poster"}


def test_an_export_is_refused_for_what_there_is_not(stage: Stage) -> None:
    assert "no corporation" in operate("export", corporation=2**62)["refused"]
    keys: list[list[object]] = [["x"], [1, 2], [[1]], [True], [{}], ["\0"]]
    odd = [json.dumps(["video", key]) for key in keys]
    for cursor in ("", "nonsense", "[]", '["schema_migration", null]', '["user", 7]', '["user"]', *odd):
        assert "cursor" in operate("export", corporation=stage.company.id, cursor=cursor)["refused"]


def test_a_large_export_is_paged_below_what_a_lambda_may_answer(stage: Stage) -> None:
    company = found_company(stage.http)
    stage.own.execute(
        """INSERT INTO video (name, file_path, corporation_id)
        SELECT repeat('가', 255), repeat('p', 900), %s FROM generate_series(1, 5000)""",
        (company.id,),
    )
    tables = Counter(line["table"] for line in exported(company.id))
    assert tables["video"] == 5000


def test_a_statement_is_answered_as_csv_in_postgresqls_words(stage: Stage) -> None:
    answer = operate(
        "sql",
        statement="SELECT seq, name, deleted_at, plan_expired_at IS NULL AS endless FROM corporation ORDER BY seq",
    )
    head, first, *_ = csv.reader(io.StringIO(answer["csv"]))
    assert head == ["seq", "name", "deleted_at", "endless"]
    assert first == [str(stage.company.id), stage.company.name, "", "t"]
    assert (answer["rows"], answer["truncated"]) == (stage.value("SELECT count(*) FROM corporation"), False)
    assert rows("""SELECT 'a "quoted", text' AS a, E'two\\nlines' AS b, '100 %' AS c""") == [
        ['a "quoted", text', "two\nlines", "100 %"]
    ]
    assert operate("sql", statement="SELECT seq FROM video WHERE false") == {
        "csv": "seq\n",
        "rows": 0,
        "truncated": False,
    }
    assert rows("WITH x AS (SELECT 1 AS n) SELECT n FROM x") == [["1"]]
    assert rows("(VALUES (1)) UNION ALL (VALUES (2))") == [["1"], ["2"]]
    assert "Seq Scan" in rows("EXPLAIN SELECT point FROM video_view_log")[0][0]
    assert rows("SHOW transaction_read_only") == [["on"]]
    assert rows("SHOW statement_timeout", seconds=7) == [["7s"]]


@pytest.mark.parametrize("character", ["'\"'", "'가'", "chr(1)", "'x'"])
def test_rows_beyond_what_a_lambda_may_answer_are_left_out_and_said_to_be(stage: Stage, character: str) -> None:
    answer = operate("sql", statement=f"SELECT repeat({character}, 10000) AS text FROM generate_series(1, 100000)")
    assert answer["truncated"]
    assert 4_000_000 < len(json.dumps(answer)) < 6_000_000
    assert "a row has more" in refused(f"SELECT repeat({character}, 6000000)")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM video",
        "UPDATE corporation SET name = 'x'",
        "INSERT INTO login_attempt (subject, ends_at) VALUES ('x', now())",
        "WITH gone AS (DELETE FROM video RETURNING seq) SELECT seq FROM gone",
        "EXPLAIN ANALYZE DELETE FROM video",
        "CREATE TABLE x (y int)",
        "SELECT 1 INTO TEMPORARY x",
        "COMMIT",
        "SELECT 1; COMMIT",
        "SELECT 1; DELETE FROM video",
        "; DELETE FROM video",
        "ROLLBACK; DELETE FROM video",
        "SET TRANSACTION READ WRITE",
        "DO $$ BEGIN DELETE FROM video; END $$",
        "COPY video TO STDOUT",
        "CALL nothing()",
        "SELECT nextval('video_seq_seq')",
        "SELECT seq FROM video FOR UPDATE",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "LOCK TABLE video",
        "",
        "SELECT",
        "SELECT no such thing",
        "/* DELETE */ SELECT 1",
        "SELECT 1 \0 FROM nothing",
    ],
)
def test_what_does_not_read_is_refused_and_changes_nothing(stage: Stage, statement: str) -> None:
    stage.company.video()
    before = stage.value("SELECT count(*) FROM video")
    if statement == "SELECT":  # PostgreSQL's empty select list
        assert operate("sql", statement=statement)["rows"] == 1
    else:
        assert refused(statement)
    assert stage.value("SELECT count(*) FROM video") == before
    assert stage.value("SELECT count(*) FROM corporation WHERE name = 'x'") == 0


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT password FROM "user"',
        'SELECT * FROM "user"',
        'TABLE "user"',
        'SELECT u FROM "user" u',
        'SELECT to_jsonb(u) FROM "user" u',
        'SELECT c FROM "user" AS u (a, b, c)',
        "SELECT email FROM \"user\" WHERE password LIKE '$2b$%'",
        'SELECT (SELECT max(password) FROM "user") AS p',
        "SELECT token FROM refresh_token",
        "SELECT answer FROM idempotency_key",
        "SELECT subject FROM login_attempt",
        "SELECT name FROM schema_migration",
        "SELECT rolpassword FROM pg_authid",
        "SELECT query_to_xml('SELECT password FROM \"user\"', true, true, '')",
        "SELECT table_to_xml('\"user\"', true, true, '')",
        "SELECT set_config('role', 'vms_app', true), (SELECT password FROM \"user\" LIMIT 1)",
        "SELECT \"set_config\"('role', 'none', true)",
        "SELECT U&\"\\0073et_config\"('role', 'none', true)",
        "SELECT word FROM ts_stat('SELECT to_tsvector(password) FROM \"user\"')",
        "SET ROLE vms_app",
        "RESET ROLE",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('.')",
    ],
)
def test_no_statement_shows_a_secret(stage: Stage, statement: str) -> None:
    assert "$2b$" not in refused(statement)


def test_statistics_show_no_secret_either(stage: Stage) -> None:
    stage.own.execute('ANALYZE "user"')
    assert rows("SELECT attname FROM pg_stats WHERE tablename = 'user' AND attname = 'password'") == []
    assert rows("SELECT attname FROM pg_stats WHERE tablename = 'user' AND attname = 'role'") == [["role"]]


def test_a_statement_that_takes_too_long_is_ended(stage: Stage) -> None:
    assert "statement timeout" in refused("SELECT pg_sleep(60)", seconds=1)
    assert rows("SELECT 1") == [["1"]]


def test_a_later_statement_of_the_functions_has_their_role_again(stage: Stage) -> None:
    assert rows("SELECT current_user") == [[READER]]
    assert rows("SELECT session_user") == [["vms_app"]]
    expect(stage.company.admin.get("/v1/auth/me"), 200)
    company: Company = stage.company
    company.video()


def test_a_database_without_the_role_says_what_to_do(stage: Stage) -> None:
    stage.own.execute(f"REVOKE {READER} FROM vms_app")
    try:
        assert "make migrate" in refused("SELECT 1")
    finally:
        stage.own.execute(f"GRANT {READER} TO vms_app")
