"""The migrate function as CloudFormation and as people call it, on a database of its own."""

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local import postgres
from tests.acts import of_database
from tests.in_process import context, load
from tests.service import Services, forget
from vms import custom_resource

ROOT = Path(__file__).parents[2]
FIRST = sorted(path.name for path in (ROOT / "sql" / "migrations").glob("*.sql"))


class Answers(BaseHTTPRequestHandler):
    """Stands where S3 takes CloudFormation's answers."""

    received: list[tuple[str | None, dict[str, Any]]]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture
def answers() -> Iterator[tuple[str, list[tuple[str | None, dict[str, Any]]]]]:
    Answers.received = []
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/answer?signature=x", Answers.received
        server.shutdown()
        thread.join()


@pytest.fixture
def empty_database(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    url = _made(services.database)
    monkeypatch.setenv("DATABASE_OWNER_URL", url)
    forget()
    yield url
    forget()


def _made(server: postgres.Postgres) -> str:
    name = f"migrate_{uuid.uuid4().hex}"
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" OWNER vms')
    return of_database(server.owner_url, name)


def _event(url: str, kind: str, **more: str) -> dict[str, str]:
    names = {"StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/vms/1", "RequestId": "r-1"}
    return {"RequestType": kind, "ResponseURL": url, "LogicalResourceId": "SchemaMigration", **names, **more}


@pytest.mark.usefixtures("environment")
def test_a_new_stack_gets_its_schema_and_hears_of_it(answers: Any, empty_database: str) -> None:
    url, received = answers
    app = load("migrate")
    assert app.lambda_handler(_event(url, "Create"), context()) == {"applied": FIRST}
    ((content_type, answer),) = received
    assert answer == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "schema",
        "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/vms/1",
        "RequestId": "r-1",
        "LogicalResourceId": "SchemaMigration",
    }
    assert not content_type
    with psycopg.connect(make_conninfo(empty_database)) as connection:
        assert connection.execute("SELECT count(*) FROM corporation").fetchone() == (0,)


@pytest.mark.usefixtures("environment", "empty_database")
def test_an_update_applies_nothing_twice_and_keeps_its_id(answers: Any) -> None:
    url, received = answers
    app = load("migrate")
    assert app.lambda_handler({}, context()) == {"applied": FIRST}
    assert app.lambda_handler(_event(url, "Update", PhysicalResourceId="older"), context()) == {"applied": []}
    assert received[0][1]["Status"] == "SUCCESS"
    assert received[0][1]["PhysicalResourceId"] == "older"


@pytest.mark.usefixtures("environment", "empty_database")
def test_a_broken_migration_fails_the_stack_with_postgresqls_words(
    answers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = answers
    (tmp_path / "0001_broken.sql").write_text("CREATE TABLE first (); CREATE TABEL second ();")
    monkeypatch.setenv("MIGRATIONS_DIR", str(tmp_path))
    assert load("migrate").lambda_handler(_event(url, "Create"), context()) == {"applied": []}
    assert received[0][1]["Status"] == "FAILED"
    assert "0001_broken.sql failed" in received[0][1]["Reason"]
    assert 'syntax error at or near "TABEL"' in received[0][1]["Reason"]


@pytest.mark.usefixtures("environment", "empty_database")
def test_deleting_the_stack_leaves_the_schema_alone(answers: Any, empty_database: str) -> None:
    url, received = answers
    assert load("migrate").lambda_handler(_event(url, "Delete", PhysicalResourceId="schema"), context()) == {
        "applied": []
    }
    assert received[0][1]["Status"] == "SUCCESS"
    with psycopg.connect(make_conninfo(empty_database)) as connection:
        assert connection.execute("SELECT to_regclass('schema_migration')").fetchone() == (None,)


def test_an_answer_fits_into_four_kilobytes(answers: Any) -> None:
    url, received = answers
    custom_resource.fail(_event(url, "Create"), "schema", "루" * 10_000)
    assert len(json.dumps(received[0][1])) <= 4096


def test_only_an_http_url_is_answered() -> None:
    with pytest.raises(ValueError, match="not an http URL"):
        custom_resource.succeed(_event("file:///tmp/x", "Create"), "schema")
