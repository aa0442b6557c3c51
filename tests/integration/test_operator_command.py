"""`make operator`: of the local runner, and of a stack whose Lambda is here and whose other services are moto's."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from botocore.session import get_session
from moto.server import ThreadedMotoServer

from ops import operator
from ops.deployed import DeployedError
from tests import environment as environments
from tests.e2e.clients import PASSWORD, Company, add_member, expect, found_company, person, problem, unique
from tests.e2e.films import bucket_of, put
from tests.in_process import context, load
from tests.integration.test_operator import NOWHERE, CloudFormation
from tests.runner import Runner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    directory = tmp_path_factory.mktemp("operator") / "local"
    with Runner(directory, BCRYPT_COST="4", PLAN_CHANGES="operator") as found:
        yield found


@pytest.fixture(scope="module")
def web(runner: Runner) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=runner.url, timeout=120, trust_env=False) as client:
        yield client


def command(runner: Runner, **variables: str) -> "subprocess.CompletedProcess[str]":
    """What `make operator` runs, with its variables."""
    return subprocess.run(
        [sys.executable, "-m", "ops", "operator"],
        cwd=ROOT,
        env=environments.of_child(LOCAL_DIR=str(runner.directory), **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def said(runner: Runner, **variables: str) -> str:
    """What it writes when it succeeds."""
    done = command(runner, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def error(runner: Runner, **variables: str) -> str:
    """What it says when it fails: one line."""
    done = command(runner, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_plans_are_the_operators_from_sign_up_to_the_recycle_bin(runner: Runner, web: httpx.Client) -> None:
    body = {"name": unique("c"), "admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD}
    problem(web.post("/v1/corporations", json={**body, "plan": "PAID"}), 403, "plan-managed")
    made = expect(web.post("/v1/corporations", json=body), 201)
    admin = person(web, str(body["admin_email"]))
    video = expect(admin.call("POST", "/v1/videos", {"name": "v", "file_path": "v.mp4"}), 201)["id"]
    assert admin.call("DELETE", f"/v1/videos/{video}").status_code == 204
    problem(admin.call("PUT", f"/v1/videos/{video}/restore"), 403, "plan-required")
    problem(admin.call("PUT", f"/v1/corporations/{made['id']}", {"plan": "PAID"}), 403, "plan-managed")
    ident = str(made["id"])
    changed = json.loads(said(runner, ACTION="set-plan", CORPORATION=ident, PLAN="PAID", UNTIL="2040-01-31"))
    assert changed["after"]["plan_expire_at"] == "2040-01-31T00:00:00Z"
    expect(admin.call("PUT", f"/v1/videos/{video}/restore"), 200)
    assert json.loads(said(runner, ACTION="show", CORPORATION=ident))["account"]["effective_plan"] == "PAID"
    listed = said(runner, ACTION="list", CONTAINS=str(body["name"])).splitlines()
    assert [line.split()[0] for line in listed] == ["id", ident]


def test_a_request_is_found_by_its_id_and_all_of_a_user_by_the_hour(runner: Runner, web: httpx.Client) -> None:
    company = found_company(web, "FREE")
    refused = company.guest.get(f"/v1/videos/id/{2**62}")
    lines = [
        json.loads(line) for line in said(runner, ACTION="find-request", ID=refused.json()["instance"]).splitlines()
    ]
    told = next(line for line in lines if line.get("message") == "refused")
    assert (told["user_id"], told["route"], told["status"], told["problem"]) == (
        company.guest.id,
        "/v1/videos/id/{video_id}",
        404,
        "urn:vms:error:not-found",
    )
    company.guest.me()  # which is answered well, and found by the user all the same
    found: set[tuple[object, object]] = set()
    for hour in {datetime.now(UTC).strftime("%Y-%m-%dT%H"), company_hour(company)}:
        done = command(runner, ACTION="find-request", MEMBER=str(company.guest.id), HOUR=hour)
        found |= {(line.get("route"), line.get("status")) for line in map(json.loads, done.stdout.splitlines())}
    assert ("GET /v1/auth/me", 200) in found
    assert ("GET /v1/videos/id/{video_id}", 404) in found
    assert "no line" in error(runner, ACTION="find-request", ID="00000000-0000-4000-a000-000000000000")


def company_hour(company: Company) -> str:
    """The hour in which it was made: a test may run over the full hour."""
    made = expect(company.admin.get(f"/v1/corporations/id/{company.id}"), 200)["created_at"]
    return str(made)[:13]


def test_a_purge_beside_a_stream_and_a_log_in_leaves_nothing(runner: Runner, web: httpx.Client, tmp_path: Path) -> None:
    company, neighbour = found_company(web, "FREE"), found_company(web, "FREE")
    bucket = bucket_of(runner.environment)
    film = os.urandom(24 * 1024 * 1024)
    for each in (company, neighbour):
        each.videos.append(each.video(file_path=put(bucket, each, film)))
    assert neighbour.guest.get(f"/v1/videos/stream/{neighbour.videos[0]}").content == film
    ident, file = str(company.id), tmp_path / "export.jsonl"
    with web.stream("GET", f"/v1/videos/stream/{company.videos[0]}", headers=company.guest.headers) as response:
        chunks = response.iter_bytes(65536)
        next(chunks)
        assert said(runner, ACTION="export", CORPORATION=ident, FILE=str(file)) == f"written to {file}\n"
        purged = dict(
            line.rsplit(maxsplit=1)
            for line in said(runner, ACTION="purge-corporation", CORPORATION=ident, YES="1").splitlines()
        )
        seen = 1
        try:
            for _ in chunks:
                seen += 1
        except httpx.HTTPError:  # its object is gone: cut, if not all of it was on its way already
            pass
        assert seen > 1
    assert (purged["user"], purged["corporation"], purged["video"], purged["objects"]) == ("2", "1", "1", "1")
    exported = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [line["table"] for line in exported].count("video_view_log") == 1
    login = {"email": company.guest.email, "password": PASSWORD}
    problem(web.post("/v1/auth/login", json=login), 401, "unauthenticated")
    problem(company.guest.get(f"/v1/videos/stream/{company.videos[0]}"), 401, "unauthenticated")
    left = said(
        runner,
        ACTION="sql",
        SQL='SELECT count(*) FROM stream_lease l LEFT JOIN "user" u ON u.seq = l.user_id WHERE u.seq IS NULL',
    )
    assert left == "count\n0\n"
    assert "no corporation of this id" in error(runner, ACTION="purge-corporation", CORPORATION=ident, YES="1")
    watched = said(runner, ACTION="who-watched", VIDEO=str(neighbour.videos[0])).splitlines()
    assert [line.split()[2] for line in watched] == ["email", neighbour.guest.email]
    assert neighbour.guest.me()["point"] == 10


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "which action?"),
        ({"ACTION": "drop"}, "which action?"),
        ({"ACTION": "show"}, "wants CORPORATION=…"),
        ({"ACTION": "revoke-sessions"}, "wants MEMBER=… or CORPORATION=…, and not both"),
        ({"ACTION": "revoke-sessions", "MEMBER": "1", "CORPORATION": "1"}, "and not both"),
        ({"ACTION": "set-plan"}, "wants CORPORATION=… and PLAN=…"),
        ({"ACTION": "show", "CORPORATION": "seven"}, "must be a number"),
        ({"ACTION": "set-plan", "CORPORATION": "1", "PLAN": "PAID", "UNTIL": "soon"}, "UNTIL must be a day"),
        ({"ACTION": "set-plan", "CORPORATION": "1", "PLAN": "GOLD"}, "plan"),
        ({"ACTION": "purge-user", "MEMBER": "1"}, "say YES=1"),
        ({"ACTION": "purge-user", "MEMBER": "1", "YES": "yes"}, "say YES=1"),
        ({"ACTION": "find-request"}, "which request?"),
        ({"ACTION": "find-request", "ID": 'x" or true'}, "no request id"),
        ({"ACTION": "find-request", "MEMBER": "٣", "HOUR": "2026-11-25T09"}, "must be a number"),
        ({"ACTION": "find-request", "MEMBER": "1"}, "HOUR must be"),
        ({"ACTION": "find-request", "MEMBER": "1", "HOUR": "2026-11-25"}, "HOUR must be"),
        ({"ACTION": "find-request", "ID": "x", "DAYS": "many"}, "DAYS"),
        ({"ACTION": "sql", "SQL": 'SELECT * FROM "user"'}, "secret columns are closed"),
        ({"ACTION": "export", "CORPORATION": "1", "FILE": "/no/such/place"}, "/no/such/place"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_line(runner: Runner, variables: dict[str, str], told: str) -> None:
    line = error(runner, **variables)
    assert told in line
    assert line.count("\n") == 1


def test_a_file_of_before_stays_when_an_export_fails(runner: Runner, web: httpx.Client, tmp_path: Path) -> None:
    company, file = found_company(web, "FREE"), tmp_path / "export.jsonl"
    file.write_text("of before", "utf-8")
    assert "no corporation" in error(runner, ACTION="export", CORPORATION=str(2**62), FILE=str(file))
    assert file.read_text("utf-8") == "of before"
    said(runner, ACTION="export", CORPORATION=str(company.id), FILE=str(file))
    assert json.loads(file.read_text("utf-8").splitlines()[0])["table"] == "corporation"
    assert said(runner, ACTION="sql", SQL="SELECT 1", FILE="/dev/null") == "written to /dev/null\n"


class Lambda(BaseHTTPRequestHandler):
    """Lambda's Invoke API, with `answer` for its functions."""

    answer: ClassVar[Callable[[Mapping[str, Any], Any], Any]]
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        client = json.loads(base64.b64decode(self.headers["X-Amz-Client-Context"]))
        known = context()
        known.client_context = SimpleNamespace(custom=client["custom"])
        type(self).asked.append(self.path)
        try:
            body, failed = json.dumps(type(self).answer(event, known)), False
        except Exception as failure:  # noqa: BLE001 - as the Lambda runtime does
            body, failed = json.dumps({"errorMessage": str(failure), "errorType": type(failure).__name__}), True
        self.send_response(200)
        if failed:
            self.send_header("X-Amz-Function-Error", "Unhandled")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def stack(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A stack whose function `operator` runs in this process, over the tests' database."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (CloudFormation, Lambda)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    Lambda.answer = staticmethod(lambda event, known: load("operator").lambda_handler(event, known))
    Lambda.asked.clear()
    CloudFormation.outputs = {
        "OperatorFunctionName": "vms-operator",
        "FunctionLogGroup": "functions",
        "AccessLogGroup": "access",
    }
    here = {
        "AWS_ENDPOINT_URL_CLOUDFORMATION": f"http://127.0.0.1:{servers[0].server_port}",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{servers[1].server_port}",
        "AWS_ENDPOINT_URL_STS": f"http://{host}:{port}",
        "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://{host}:{port}",
    }
    for name, value in {**NOWHERE, **here, "AWS_DEFAULT_REGION": environment["AWS_REGION"]}.items():
        monkeypatch.setenv(name, value)
    yield "vms-test"
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()
    moto.stop()


def operate(ask: Callable[[str], str] | None = None, **variables: str) -> str:
    """What the command writes."""
    output = io.StringIO()
    operator.run(variables, output, ask)
    return output.getvalue()


def test_a_stacks_function_is_invoked_by_its_alias_and_told_who_asks(
    stack: str, acme: Company, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        shown = json.loads(operate(ACTION="show", CORPORATION=str(acme.id), STACK=stack))
    assert shown["account"]["name"] == acme.name
    assert Lambda.asked == ["/2015-03-31/functions/vms-operator/invocations?Qualifier=live"]
    callers = {getattr(record, "caller", None) for record in caplog.records if record.getMessage() == "operator begins"}
    assert callers == {"arn:aws:sts::123456789012:user/moto"}


def test_what_a_stacks_function_refuses_is_the_error(stack: str) -> None:
    with pytest.raises(DeployedError, match=f"there is no corporation {2**62}"):
        operate(ACTION="show", CORPORATION=str(2**62), STACK=stack)
    with pytest.raises(DeployedError):
        operate(ACTION="show", CORPORATION="1", STACK="there-is-none")


def test_a_list_is_all_of_its_pages(stack: str, http: httpx.Client) -> None:
    word = unique("paged")
    made = {str(found_company(http, name=f"{word} {number}").id) for number in range(23)}
    lines = operate(ACTION="list", CONTAINS=word, STACK=stack).splitlines()
    assert {line.split()[0] for line in lines} == {"id", *made}
    assert len(lines) == 24
    assert operate(ACTION="list", CONTAINS=unique("nothing"), STACK=stack) == ""


def test_a_purge_asks_a_person_what_is_to_go(stack: str, http: httpx.Client) -> None:
    company = found_company(http)
    member = add_member(company.admin)
    asked: list[str] = []

    def answer(text: str) -> Callable[[str], str]:
        return lambda question: asked.append(question) or text  # type: ignore[func-returns-value]  # says both

    with pytest.raises(DeployedError, match="nothing was deleted"):
        operate(answer("yes"), ACTION="purge-corporation", CORPORATION=str(company.id), STACK=stack)
    assert company.name in asked[0]
    assert stack in asked[0]
    assert member.me()["id"] == member.id
    told = operate(answer(str(member.id)), ACTION="purge-user", MEMBER=str(member.id), STACK=stack)
    assert told.splitlines()[-1].split() == ["user", "1"]
    problem(member.get("/v1/auth/me"), 401, "unauthenticated")
    assert company.guest.me()["id"] == company.guest.id


def test_a_purge_is_invoked_until_nothing_is_left(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [
            {"found": True, "rows": {"user": 2000}, "objects": 5, "uploads": 0, "done": False},
            {"found": True, "rows": {"user": 3, "corporation": 1}, "objects": 0, "uploads": 1, "done": True},
        ]
    )
    monkeypatch.setattr(Lambda, "answer", staticmethod(lambda _event, _known: next(answers)))
    lines = operate(ACTION="purge-corporation", CORPORATION="7", YES="1", STACK=stack).splitlines()
    assert lines[0] == "2005 rows and objects are gone; it goes on"
    assert [line.split() for line in lines[1:]] == [
        ["user", "2003"],
        ["objects", "5"],
        ["open", "uploads", "1"],
        ["corporation", "1"],
    ]


def test_a_request_of_a_stack_is_looked_for_in_both_groups(stack: str) -> None:
    logs: Any = get_session().create_client("logs")
    now = int(datetime.now(UTC).timestamp() * 1000)
    lines = {
        "functions": {"correlation_id": "r-1", "user_id": 7, "status": 404, "problem": "urn:vms:error:not-found"},
        "access": {"requestId": "r-1", "status": "404"},
    }
    for group, line in lines.items():
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        event = {"timestamp": now, "message": json.dumps(line)}
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
    found = [json.loads(line) for line in operate(ACTION="find-request", ID="r-1", STACK=stack).splitlines()]
    assert sorted(map(str, found)) == sorted(map(str, lines.values()))
    hour = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H")
    found = [
        json.loads(line) for line in operate(ACTION="find-request", MEMBER="7", HOUR=hour, STACK=stack).splitlines()
    ]
    assert sorted(map(str, found)) == sorted(map(str, lines.values()))
    queries = [each["queryString"] for each in logs.describe_queries(logGroupName="functions")["queries"]]
    assert any('correlation_id = "r-1" or function_request_id = "r-1" or requestId = "r-1"' in each for each in queries)
    assert any("filter user_id = 7 |" in each for each in queries)
    logs.close()
