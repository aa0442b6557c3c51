"""What no client sees over HTTP: event files, buffered answers, settings at init, events between two statements."""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.clients import PASSWORD, Company, add_member, expect, problem, unique
from tests.e2e.films import put
from tests.in_process import context, fresh, load
from tests.service import Services
from vms import database, passwords
from vms.domain import sessions, users
from vms.observability import logger
from vms.settings import TABLE
from vms.variables import SettingError

pytestmark = pytest.mark.usefixtures("environment")

EVENTS = Path(__file__).parents[2] / "events"
MIB = 1024 * 1024


def with_token(event: dict[str, Any], token: str) -> dict[str, Any]:
    text = json.dumps(event).replace("ACCESS_TOKEN", token)
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_each_event_file_is_answered_by_its_function(acme: Company, path: Path) -> None:
    event = with_token(json.loads(path.read_text("utf-8")), acme.admin.tokens["access_token"])
    answer = load(path.stem).lambda_handler(event, context())
    if path.stem == "plan_expiry":
        assert set(answer) == {
            "plans_expired",
            "sessions_purged",
            "answers_purged",
            "leases_purged",
            "uploads_expired",
            "activity_rolled_up",
        }
    elif path.stem == "migrate":
        assert answer == {"applied": []}
    elif path.stem == "operator":
        assert set(answer) == {"items", "next_cursor"}
    elif path.stem == "stream":
        assert answer.status in {404, 502}
    else:
        # The things that the files name need not be there; but who asks is known, and what is asked is understood.
        assert answer["statusCode"] in {200, 201, 204, 401, 404}
        assert answer["statusCode"] != 401 or path.stem == "auth"


def test_there_is_an_event_file_for_each_function() -> None:
    functions = {path.parent.name for path in EVENTS.parent.glob("functions/*/app.py")}
    assert {path.stem for path in EVENTS.glob("*.json")} == functions


@pytest.mark.parametrize("group", ["auth", "stream"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", ""), ("JWT_KEYS", '{"current": "a", "a": "short"}'), ("JWT_KEYS", "/nowhere/keys.json")],
)
def test_a_missing_or_broken_setting_stops_the_function_at_init(
    setting: Callable[[str, str], None], group: str, name: str, value: str
) -> None:
    setting(name, value)
    with pytest.raises(SettingError, match=f"^setting {name} [^\n]*$") as raised:
        fresh(group)
    assert "short" not in str(raised.value)


def test_a_function_without_its_migrations_says_so(setting: Callable[[str, str], None], tmp_path: Path) -> None:
    setting("MIGRATIONS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingError, match="MIGRATIONS_DIR must be a directory"):
        load("migrate").lambda_handler({}, context())


@pytest.fixture
def film(acme: Company, services: Services) -> tuple[int, bytes]:
    body = bytes(range(256)) * (5 * MIB // 256)
    return acme.video(file_path=put(services.storage, acme, body, f"handlers/{unique('film')}.webm", kind="")), body


def test_where_the_platform_cannot_stream_a_slice_is_one_whole_answer(
    acme: Company, film: tuple[int, bytes], setting: Callable[[str, str], None]
) -> None:
    setting("STREAM_MODE", "buffered")
    video, body = film
    path = f"/v1/videos/stream/{video}"
    viewer = add_member(acme.admin)
    refused = problem(viewer.get(path), 413, "too-large")
    assert "Range" in refused["detail"]
    assert viewer.call("HEAD", path).status_code == 413
    assert viewer.me()["point"] == 0
    part = viewer.get(path, headers={"Range": "bytes=0-"})
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 0-{4 * MIB - 1}/{len(body)}")
    assert part.content == body[: 4 * MIB]
    assert part.headers["Content-Type"] == "video/webm"
    assert viewer.me()["point"] == 10


def test_a_whole_file_beyond_what_the_platform_can_send_is_413(
    acme: Company, film: tuple[int, bytes], setting: Callable[[str, str], None]
) -> None:
    setting("STREAM_MAX_BYTES", str(MIB))
    video, body = film
    path = f"/v1/videos/stream/{video}"
    viewer = add_member(acme.admin)
    problem(viewer.get(path), 413, "too-large")
    assert viewer.me()["point"] == 0
    assert viewer.get(path, headers={"Range": "bytes=5-9"}).content == body[5:10]


def test_an_unforeseen_failure_of_the_stream_is_500_and_tells_nothing(
    acme: Company, film: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(load("stream").views, "grant", fail)
    answer = acme.guest.get(f"/v1/videos/stream/{film[0]}")
    problem(answer, 500, "internal")
    assert "inside" not in answer.text


def test_a_video_deleted_while_s3_was_asked_is_404_and_grants_nothing(
    acme: Company, film: tuple[int, bytes], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = load("stream").storage
    ask = storage.get

    def get(key: str, range_header: str | None = None) -> Any:
        with psycopg.connect(services.database.url) as other:
            other.execute("UPDATE video SET deleted = true WHERE seq = %s", (film[0],))
        return ask(key, range_header)

    monkeypatch.setattr(storage, "get", get)
    viewer = add_member(acme.admin)
    problem(viewer.get(f"/v1/videos/stream/{film[0]}"), 404, "not-found")
    assert viewer.me()["point"] == 0


def test_a_body_that_is_said_to_be_base64_and_is_not_is_400() -> None:
    event = json.loads((EVENTS / "corporations.json").read_text("utf-8"))
    event |= {"httpMethod": "POST", "resource": "/v1/corporations", "path": "/v1/corporations", "pathParameters": None}
    event |= {"body": "a", "isBase64Encoded": True}
    answer = load("corporations").lambda_handler(event, context())
    assert answer["statusCode"] == 400
    event |= {"body": base64.b64encode(b"[1]").decode()}
    assert load("corporations").lambda_handler(event, context())["statusCode"] == 422


def test_a_log_in_that_overlaps_the_users_deletion_begins_no_session(
    acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = add_member(acme.admin)

    def matches(password: str, stored: str | None, slowest: int) -> bool:
        database.fetch_all('UPDATE "user" SET deleted_at = now() WHERE seq = %(id)s', {"id": user.id})
        return passwords.matches(password, stored, slowest)

    monkeypatch.setattr(sessions, "matches", matches)
    answer = user.http.post("/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    problem(answer, 401, "unauthenticated")


def test_an_admin_demoted_while_it_changes_a_role_is_403(
    acme: Company, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = add_member(acme.admin, "admin")
    lock = users._lock

    def demoted(caller: Any, user_id: int) -> None:
        with psycopg.connect(services.database.url) as other:
            other.execute("""UPDATE "user" SET role = 'guest' WHERE seq = %s""", (admin.id,))
        lock(caller, user_id)

    monkeypatch.setattr(users, "_lock", demoted)
    problem(admin.call("PUT", f"/v1/users/{admin.id}", {"role": "admin"}), 403, "forbidden")


def test_of_two_deletions_of_a_video_at_once_the_second_is_404(acme: Company, services: Services) -> None:
    video = acme.video()
    with psycopg.connect(services.database.url) as other:
        other.execute("UPDATE video SET deleted = true WHERE seq = %s", (video,))
        pid = database.connection().info.backend_pid

        def commit_once_the_other_waits() -> None:
            with psycopg.connect(services.database.superuser_url, autocommit=True) as watcher:
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    row = watcher.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,))
                    if row.fetchone() == ("Lock",):
                        break
                    time.sleep(0.01)
            other.commit()

        thread = threading.Thread(target=commit_once_the_other_waits)
        thread.start()
        answer = acme.admin.call("DELETE", f"/v1/videos/{video}")
        thread.join(30)
    problem(answer, 404, "not-found")


def test_a_statement_that_takes_too_long_is_503_and_the_connection_serves_on(acme: Company, services: Services) -> None:
    video = acme.video()
    with psycopg.connect(services.database.url) as other:
        other.execute("SELECT seq FROM video WHERE seq = %s FOR UPDATE", (video,))
        database.fetch_all("SET statement_timeout = '200ms'", {})
        try:
            problem(acme.admin.call("PUT", f"/v1/videos/{video}", {"name": "late"}), 503, "unavailable")
        finally:
            database.fetch_all("RESET statement_timeout", {})
    assert expect(acme.admin.get(f"/v1/videos/id/{video}"), 200)["name"] != "late"


def test_a_database_lost_in_the_middle_of_a_statement_is_503_and_then_found_again(
    acme: Company, services: Services
) -> None:
    video = acme.video()
    pid = database.connection().info.backend_pid
    with psycopg.connect(services.database.url) as other:
        other.execute("SELECT seq FROM video WHERE seq = %s FOR UPDATE", (video,))

        def kill() -> None:
            with psycopg.connect(services.database.superuser_url, autocommit=True) as killer:
                time.sleep(0.3)
                killer.execute("SELECT pg_terminate_backend(%s)", (pid,))

        thread = threading.Thread(target=kill)
        thread.start()
        problem(acme.admin.call("PUT", f"/v1/videos/{video}", {"name": "lost"}), 503, "unavailable")
        thread.join(30)
    assert expect(acme.admin.get(f"/v1/videos/id/{video}"), 200)["name"] != "lost"


def test_a_connection_that_this_side_has_closed_is_replaced(acme: Company) -> None:
    database.connection().close()
    expect(acme.guest.get("/v1/auth/me"), 200)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The metrics that have been emitted since it was asked last, summed by name."""
    found: dict[str, float] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith('{"_aws"'):
            document = json.loads(line)
            for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                found[metric["Name"]] = found.get(metric["Name"], 0) + sum(document[metric["Name"]])
    return found


def test_what_the_dashboard_shows_is_counted(
    acme: Company, film: tuple[int, bytes], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, other = add_member(acme.admin), add_member(acme.admin)
    path = f"/v1/videos/stream/{film[0]}"
    told(capsys)
    assert viewer.get(path, headers={"Range": "bytes=0-99"}).status_code == 206
    first = told(capsys)
    assert (first["Views"], first["PointsGranted"], first["BytesStreamed"]) == (1, 10, 100)
    assert first["Latency"] > 0
    assert viewer.get(path).status_code == 200
    again = told(capsys)
    assert again["BytesStreamed"] == len(film[1])
    assert not {"Views", "PointsGranted", "Faults"} & set(again)
    wrong = {"email": viewer.email, "password": "not this one"}
    assert viewer.http.post("/v1/auth/login", json=wrong).status_code == 401
    assert told(capsys)["LogInFailures"] == 1
    load("plan_expiry").lambda_handler(json.loads((EVENTS / "plan_expiry.json").read_text("utf-8")), context())
    assert "PlansExpired" in told(capsys)
    assert viewer.get(f"/v1/videos/stream/{acme.video(file_path='handlers/none.mp4')}").status_code == 404
    assert "Faults" not in told(capsys)
    monkeypatch.setattr(load("stream").views, "grant", lambda *_: 1 / 0)
    assert other.get(path).status_code == 500
    assert told(capsys)["Faults"] == 1


def test_the_dashboard_shows_what_is_counted() -> None:
    shown = set(re.findall(r'MetricName=\\"(\w+)\\"', (EVENTS.parent / "ops" / "monitoring.yaml").read_text("utf-8")))
    assert {"Views", "PointsGranted", "BytesStreamed", "LogInFailures", "PlansExpired", "Latency"} <= shown
    assert {"UploadsBegun", "UploadsCompleted", "UploadsRefused", "UploadedBytes"} <= shown


def test_a_refused_request_leaves_one_log_line_with_its_id_caller_route_and_problem(
    acme: Company, caplog: pytest.LogCaptureFixture
) -> None:
    for path, route in (
        ("/v1/videos/id/", "/v1/videos/id/{video_id}"),
        ("/v1/videos/stream/", "/v1/videos/stream/{video_id}"),
    ):
        caplog.clear()
        refusal = problem(acme.guest.get(f"{path}{2**60}"), 404, "not-found")
        (line,) = (record for record in caplog.records if record.message == "refused")
        assert (line.status, line.problem) == (404, "urn:vms:error:not-found")  # type: ignore[attr-defined]
        keys = logger.get_current_keys()
        assert (keys["correlation_id"], keys["user_id"], keys["route"]) == (refusal["instance"], acme.guest.id, route)
    assert acme.guest.http.get("/v1/auth/me").status_code == 401
    assert logger.get_current_keys()["user_id"] is None


@pytest.mark.parametrize("path", ["/v1/videos/id/{}", "/v1/videos/stream/{}"])
def test_where_only_errors_are_logged_a_refused_request_still_leaves_a_line_with_all_of_that(
    acme: Company, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """The line of metrics, which has no level: `LogLevel=ERROR` hides the other one."""
    capsys.readouterr()
    refusal = problem(acme.guest.get(path.format(2**60)), 404, "not-found")
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines() if text.startswith('{"_aws"')]
    told = {name: line[name] for name in ("correlation_id", "user_id", "route", "status", "problem")}
    assert told == {
        "correlation_id": refusal["instance"],
        "user_id": acme.guest.id,
        "route": f"GET {path.format('{video_id}')}",
        "status": 404,
        "problem": "urn:vms:error:not-found",
    }
    acme.guest.me()
    assert "problem" not in capsys.readouterr().out


def broken() -> Iterator[tuple[str, str, str]]:
    """A value that is refused for each setting of some functions, and each of them."""
    for row in TABLE:
        value = "" if row.default is None else "?"
        # What is any text cannot be broken, and the one endpoint is not looked at where the other is set.
        if row.used_by != "all" and (row.form[0] != "text" or not value) and row.name != "AWS_ENDPOINT_URL":
            yield from ((row.name, value, function) for function in row.used_by.split(", "))


@pytest.mark.parametrize(("name", "value", "function"), list(broken()))
def test_a_broken_setting_stops_each_function_that_uses_it_at_its_start(
    setting: Callable[[str, str], None], name: str, value: str, function: str
) -> None:
    setting(name, value)
    with pytest.raises(SettingError, match=name):
        fresh(function)
