"""The local runner over a small template: real awslambdaric workers, real HTTP."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Handler: app.lambda_handler
    Runtime: python3.13
    Timeout: 20
    MemorySize: 256
    Layers: [!Ref SharedLayer]
    Environment: {Variables: {DECLARED: "by the template", FIXED: "by the template", FROM_HOST: "by the template"}}
Resources:
  SharedLayer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layers/shared}}
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      BinaryMediaTypes: [video~1mp4]
      GatewayResponses:
        MISSING_AUTHENTICATION_TOKEN:
          StatusCode: 404
          ResponseParameters: {Headers: {Content-Type: "'application/problem+json'"}}
          ResponseTemplates: {application/json: '{"status": 404, "instance": "$context.requestId"}'}
        DEFAULT_4XX:
          ResponseParameters: {Headers: {Content-Type: "'application/problem+json'"}}
          ResponseTemplates: {application/json: '{"status": 400, "instance": "$context.requestId"}'}
        DEFAULT_5XX:
          ResponseTemplates: {application/json: '{"message": $context.error.messageString}'}
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/echo
      Events:
        Any: {Type: Api, Properties: {RestApiId: !Ref Api, Path: "/echo/{name}", Method: ANY}}
        Fixed: {Type: Api, Properties: {RestApiId: !Ref Api, Path: /echo/fixed, Method: GET}}
        Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour)}}
  FaultsFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/faults
      Timeout: 1
      Events:
        Any: {Type: Api, Properties: {RestApiId: !Ref Api, Path: "/faults/{kind}", Method: GET}}
        Slow: {Type: Api, Properties: {RestApiId: !Ref Api, Path: /faults/impatient, Method: GET, TimeoutInMillis: 300}}
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/broken
      Events: {Any: {Type: Api, Properties: {RestApiId: !Ref Api, Path: /broken, Method: GET}}}
  StreamFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/stream
      Events:
        Get:
          Type: Api
          Properties: {RestApiId: !Ref Api, Path: "/stream/{kind}", Method: GET, ResponseTransferMode: RESPONSE_STREAM}
        Head:
          Type: Api
          Properties: {RestApiId: !Ref Api, Path: "/stream/{kind}", Method: HEAD, ResponseTransferMode: RESPONSE_STREAM}
"""

ECHO = """
import base64, json, os, shared, sys, time
def lambda_handler(event, context):
    if "resource" not in event:
        return {"fired": event, "arn": context.invoked_function_arn}
    if event["pathParameters"] and event["pathParameters"].get("name") == "hold":
        time.sleep(0.5)
    if event["pathParameters"] and event["pathParameters"].get("name") == "binary":
        return {"statusCode": 200, "headers": {"Content-Type": "video/mp4"}, "isBase64Encoded": True,
                "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
                "body": base64.b64encode(bytes(range(256))).decode()}
    about = {"event": event, "environment": dict(os.environ), "path": sys.path, "cwd": os.getcwd(), "pid": os.getpid(),
             "shared": shared.VALUE, "remaining": context.get_remaining_time_in_millis(), "id": context.aws_request_id}
    return {"statusCode": 200, "body": json.dumps(about)}
"""

FAULTS = """
import json, os, time, traceback
def lambda_handler(event, context):
    kind = event["pathParameters"]["kind"] if event["pathParameters"] else "impatient"
    match kind:
        case "exit": os._exit(3)
        case "kill": os.kill(os.getpid(), 9)
        case "raise": raise ValueError("a secret detail")
        case "logged":
            try: 1 / 0
            except ZeroDivisionError:
                print(json.dumps({"id": event["requestContext"]["requestId"], "exception": traceback.format_exc()}))
            return {"statusCode": 500, "body": "{}"}
        case "sleep": time.sleep(30)
        case "impatient": time.sleep(0.6)
        case "no-status": return {"body": "x"}
        case "text": return "hello"
        case "extra": return {"statusCode": 200, "cookies": []}
        case "number": return {"statusCode": 200, "body": 7}
        case "base64": return {"statusCode": 200, "body": "*", "isBase64Encoded": True}
        case "large": return {"statusCode": 200, "body": "x" * 7_000_000}
        case "memory": bytearray(600 * 1024 * 1024)
    return {"statusCode": 200, "body": str(os.getpid())}
"""

# As the streaming contract has it, written anew: the runner is tested against the protocol, not against our sender.
STREAM = """
import base64, json, os, socket, struct, time
from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

BLOCK = bytes(range(256)) * 1024

class Marshaller(LambdaMarshaller):
    def marshal_response(self, response):
        return (response, "stream") if callable(response) else super().marshal_response(response)

def chunk(data):
    return b"%x\\r\\n%s\\r\\n" % (len(data), data)

post = BaseLambdaRuntimeClient.post_invocation_result
def post_invocation_result(self, invoke_id, result, content_type="application/json", *args, **kwargs):
    if not callable(result):
        return post(self, invoke_id, result, content_type, *args, **kwargs)
    host, port = self.lambda_runtime_address.split(":")
    try:
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall((f"POST /2018-06-01/runtime/invocation/{invoke_id}/response HTTP/1.1\\r\\nHost: x\\r\\n"
                "Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\n"
                "Content-Type: application/vnd.awslambda.http-integration-response\\r\\nConnection: close\\r\\n"
                "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n").encode())
            result(connection)
            while connection.recv(1000):
                pass
    except OSError as failure:
        print("STREAM BROKEN", type(failure).__name__, flush=True)
BaseLambdaRuntimeClient.marshaller = Marshaller()
BaseLambdaRuntimeClient.post_invocation_result = post_invocation_result

def begin(connection, status=200, **headers):
    document = {"statusCode": status, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
    connection.sendall(chunk(json.dumps(document).encode() + bytes(8)))

def lambda_handler(event, context):
    kind = event["pathParameters"]["kind"]
    def small(connection):
        begin(connection, content_length="6")
        connection.sendall(chunk(b"abc") + chunk(b"def") + b"0\\r\\n\\r\\n")
    def unknown_length(connection):
        begin(connection, x_a="1")
        connection.sendall(chunk(b"abc") + chunk(b"def") + b"0\\r\\n\\r\\n")
    def refusal(connection):
        begin(connection, 401, content_length="2")
        connection.sendall(chunk(b"no") + b"0\\r\\n\\r\\n")
    def truncated(connection):
        begin(connection, content_length="100")
        connection.sendall(chunk(b"abc"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
        connection.close()
        raise OSError("cut on purpose")
    def trailer(connection):
        begin(connection)
        connection.sendall(chunk(b"abc") + b"0\\r\\nLambda-Runtime-Function-Error-Type: Broken\\r\\n"
            b"Lambda-Runtime-Function-Error-Body: " + base64.b64encode(b"{}") + b"\\r\\n\\r\\n")
    def short(connection):
        begin(connection, content_length="100")
        connection.sendall(chunk(b"abc") + b"0\\r\\n\\r\\n")
    def dies(connection):
        begin(connection, content_length="100")
        connection.sendall(chunk(b"abc"))
        os._exit(1)
    def head(connection):
        begin(connection, content_length="123456")
        connection.sendall(b"0\\r\\n\\r\\n")
    def first_byte(connection):
        begin(connection, content_length="6")
        connection.sendall(chunk(b"abc"))
        deadline = time.time() + 10
        while not os.path.exists("../../go") and time.time() < deadline:
            time.sleep(0.01)
        connection.sendall(chunk(b"def") + b"0\\r\\n\\r\\n")
    def no_delimiter(connection):
        connection.sendall(chunk(b"{}" + b" " * 20_000) + b"0\\r\\n\\r\\n")
    def film(connection):
        begin(connection, content_length=str(3 * len(BLOCK)), x_pid=str(os.getpid()))
        for _ in range(3):
            connection.sendall(chunk(BLOCK))
        with open("../../posted", "a") as posted: posted.write(".")
        connection.sendall(b"0\\r\\n\\r\\n")
    def early(connection):
        film(connection)
        connection.close()
        connection.recv(1)  # an OSError: it goes on to the next invocation without the acknowledgement
    def big(connection):
        total = 64 * 1024 * 1024
        begin(connection, content_length=str(total))
        for _ in range(total // len(BLOCK)):
            connection.sendall(chunk(BLOCK))
            with open("../../sent", "a") as sent: sent.write(".")
        connection.sendall(b"0\\r\\n\\r\\n")
    if kind == "buffered": return {"statusCode": 200, "body": "x"}
    if kind == "raise": raise ValueError("before the first byte")
    return locals()[kind.replace("-", "_")]
"""


class Served:
    """A runner over a project directory."""

    def __init__(self, directory: Path, port: int, invoke_port: int, log: Path) -> None:
        self.directory, self.port, self.invoke_port, self.log = directory, port, invoke_port, log
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **arguments)

    def logged(self, text: str) -> bool:
        return wait_for(lambda: text in self.log.read_text())


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def write_project(directory: Path) -> None:
    (directory / "template.yaml").write_text(TEMPLATE)
    sources = {"echo": ECHO, "faults": FAULTS, "stream": STREAM, "broken": "import does_not_exist\n"}
    for name, source in sources.items():
        (directory / "functions" / name).mkdir(parents=True)
        (directory / "functions" / name / "app.py").write_text(source)
    (directory / "layers" / "shared").mkdir(parents=True)
    (directory / "layers" / "shared" / "shared.py").write_text("VALUE = 'first'\n")


@contextlib.contextmanager
def serving(directory: Path, **settings: str) -> Iterator[Served]:
    write_project(directory)
    log = directory / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve_template.py")), str(directory)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
        )
        try:
            assert wait_for(lambda: '"invoke_port"' in log.read_text(), 60), log.read_text()
            ports = json.loads(next(line for line in log.read_text().splitlines() if line.startswith('{"port"')))
            yield Served(directory, ports["port"], ports["invoke_port"], log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What the functions print comes out raw."""
    settings = {"FROM_HOST": "by the host", "SECRET_OF_HOST": "1", "SEND_BUFFER": "65536"}
    with serving(tmp_path_factory.mktemp("project"), **settings) as made:
        yield made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A line a request, the functions' output in files, and two seconds for a request's head."""
    directory = tmp_path_factory.mktemp("shown")
    with serving(directory, LOGS=str(directory / "logs"), HEAD_SECONDS="2") as made:
        yield made


def test_a_request_reaches_the_function_as_a_proxy_event(served: Served) -> None:
    answer = served.get("/echo/%EB%A3%A8%EB%A8%BC%EB%9E%A9%2F+a%20b?q=1&q=2+3", headers={"X-Own": "yes"})
    event = answer.json()["event"]
    assert answer.status_code == 200
    assert event["resource"] == "/echo/{name}"
    assert event["pathParameters"] == {"name": "루먼랩/+a b"}
    assert event["multiValueQueryStringParameters"] == {"q": ["1", "2 3"]}
    assert event["headers"]["X-Own"] == "yes"
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["stage"] == "prod"
    assert answer.headers["x-amzn-requestid"] == event["requestContext"]["requestId"]


def test_a_worker_has_lambdas_environment_and_nothing_of_the_hosts(served: Served) -> None:
    about = served.get("/echo/x").json()
    environment = about["environment"]
    assert environment["DECLARED"] == "by the template"
    assert environment["FIXED"] == "by the runner"
    assert environment["FROM_HOST"] == "by the host"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "local-EchoFunction"
    assert environment["AWS_REGION"] == "eu-west-1"
    assert "SECRET_OF_HOST" not in environment
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert about["cwd"] == str(served.directory / "functions" / "echo")
    assert 0 < about["remaining"] <= 20_000


def test_each_invocation_is_reported_as_lambda_does(served: Served) -> None:
    request_id = served.get("/echo/x").json()["id"]
    assert served.logged(f"REPORT RequestId: {request_id}\tDuration: ")
    started, ended, line = [line for line in served.log.read_text().splitlines() if request_id in line]
    assert (started, ended) == (f"START RequestId: {request_id} Version: $LATEST", f"END RequestId: {request_id}")
    assert "Billed Duration: " in line
    assert "Memory Size: 256 MB" in line
    assert "Init Duration: " in served.log.read_text()


def test_a_binary_answer_is_decoded_and_header_values_are_kept_apart(served: Served) -> None:
    answer = served.get("/echo/binary")
    assert answer.content == bytes(range(256))
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["content-length"] == "256"


def test_head_has_no_body(served: Served) -> None:
    answer = httpx.head(f"{served.url}/echo/binary", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_unknown_path_or_method_gets_the_templates_answer(served: Served) -> None:
    for answer in (served.get("/nothing"), httpx.post(f"{served.url}/broken", timeout=30)):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["instance"] == answer.headers["x-amzn-requestid"]


def test_many_slow_requests_at_once_get_workers_of_their_own(served: Served) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: served.get("/echo/hold").json()["pid"], range(8)))
    assert len(set(answers)) > 1


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"".join(b"GET /echo/n%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20)))
        received = b""
        names: list[str] = []
        while len(names) < 20:
            received += connection.recv(65536)
            names = [part[:3].strip('"\\') for part in received.decode().replace('\\"', '"').split('"name": "')[1:]]
    assert names == [f"n{number}"[:3] for number in range(20)]


@pytest.mark.parametrize(
    "kind", ["exit", "kill", "raise", "no-status", "text", "extra", "number", "base64", "large", "memory"]
)
def test_a_function_that_dies_raises_or_answers_nonsense_is_a_502_and_the_next_request_works(
    served: Served, kind: str
) -> None:
    answer = served.get(f"/faults/{kind}")
    assert (answer.status_code, answer.json()) == (502, {"message": "Internal server error"})
    assert served.get("/faults/none").status_code == 200


def test_a_function_over_its_time_out_is_ended_and_answered_504(served: Served) -> None:
    before = served.get("/faults/none").text
    answer = served.get("/faults/sleep")
    assert (answer.status_code, answer.json()) == (504, {"message": "Endpoint request timed out"})
    assert served.logged("Task timed out after 1.00 seconds")
    assert served.get("/faults/none").text != before or served.logged("Status: timeout")


def test_an_integration_time_out_answers_while_the_function_goes_on(served: Served) -> None:
    assert served.get("/faults/impatient").status_code == 504
    assert served.get("/faults/none").status_code == 200


def test_an_init_error_is_shown_answered_and_mended_by_an_edit(served: Served) -> None:
    assert served.get("/broken").status_code == 502
    assert served.logged("No module named 'does_not_exist'")
    source = served.directory / "functions" / "broken" / "app.py"
    source.write_text("def lambda_handler(event, context):\n    return {'statusCode': 200, 'body': 'mended'}\n")
    assert wait_for(lambda: served.get("/broken").text == "mended")


def test_an_edit_of_a_layer_is_served_without_a_restart(served: Served) -> None:
    shared = served.directory / "layers" / "shared" / "shared.py"
    shared.write_text("VALUE = 'the second one'\n")
    assert wait_for(lambda: served.get("/echo/x").json()["shared"] == "the second one")


def test_a_body_over_ten_megabytes_is_refused_before_the_function(served: Served) -> None:
    answer = httpx.post(f"{served.url}/echo/x", content=b"x" * (10 * 1024 * 1024 + 1), timeout=30)
    assert answer.status_code == 413


def talk(port: int, *pieces: bytes, half_close: bool = False) -> tuple[bytes, Any]:
    """Head and JSON body of what comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return head, json.loads(body)


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"nonsense\r\n\r\n"),
        (400, b"GET /echo/x HTTP/1.1\r\n\r\n"),
        (400, b"GET /echo/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (431, b"GET /echo/x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
        (431, b"GET /echo/x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 500_000),
    ],
)
def test_what_http_forbids_is_refused_with_a_problem_document(served: Served, status: int, sent: bytes) -> None:
    head, problem = talk(served.port, sent)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    assert problem["status"] == status
    assert problem["instance"].encode() in head


def test_a_request_before_a_forbidden_one_is_still_answered(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"GET /echo/hold HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 Bad Request" in received


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_an_upgrade_is_ignored_and_the_body_kept(served: Served, method: str) -> None:
    body = b"" if method == "GET" else b"a body\r\nof two lines"
    head = (
        f"{method} /echo/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAEAAEAA\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    last = b"GET /echo/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    whole = head + body + last
    for pieces in ([whole], [head, body, last], [whole[:40], whole[40:90], whole[90:-20], whole[-20:]]):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.01)  # so that they arrive one by one
            received = b""
            while more := connection.recv(65536):
                received += more
        _, first, second = received.split(b"HTTP/1.1 200 OK\r\n")
        event = json.loads(first.partition(b"\r\n\r\n")[2])["event"]
        assert (event["httpMethod"], event["body"]) == (method, body.decode() or None)
        assert "Upgrade" not in event["headers"]
        assert b"last" in second


def test_the_absolute_form_is_served_under_its_own_host(served: Served) -> None:
    sent = b"GET http://other.example:81/echo/x?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, about = talk(served.port, sent)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert (about["event"]["path"], about["event"]["headers"]["Host"]) == ("/echo/x", "other.example:81")
    assert about["event"]["queryStringParameters"] == {"q": "1"}


def test_a_client_that_will_send_no_more_is_answered(served: Served) -> None:
    for path in ("/echo/hold", "/nothing"):
        head, _ = talk(served.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), half_close=True)
        assert head.startswith(b"HTTP/1.1 ")


def test_connections_whose_head_never_completes_do_not_stay(shown: Served) -> None:
    beginnings = (b"", b"GET /echo/x HTTP/1.1\r\nHost: x", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /")
    connections = [socket.create_connection(("127.0.0.1", shown.port), timeout=30) for _ in range(90)]
    for number, connection in enumerate(connections):
        connection.sendall(beginnings[number % 3])
    for number, connection in enumerate(connections):
        received = b""
        while more := connection.recv(65536):  # until the runner closes
            received += more
        connection.close()
        assert received.startswith(b"HTTP/1.1 404 " if number % 3 == 2 else b"HTTP/1.1 408 ")
        assert b"HTTP/1.1 408 Request Timeout" in received


def test_a_request_is_one_line_with_its_id_and_its_logs_are_in_a_file(shown: Served) -> None:
    answer = shown.get("/echo/x?token=secret")
    request_id = answer.headers["x-amzn-requestid"]
    assert shown.logged(request_id)
    (line,) = [line for line in shown.log.read_text().splitlines() if request_id in line]
    assert line.split()[:3] == ["GET", "/echo/x", "200"]
    assert "Echo" in line.split()
    assert "secret" not in line
    assert "\033" not in line  # no terminal, no colours
    log = (shown.directory / "logs" / "echo.log").read_text()
    assert f"START RequestId: {request_id}" in log
    assert f"REPORT RequestId: {request_id}" in log
    assert answer.json()["id"] == request_id
    assert "REPORT" not in shown.log.read_text()


def test_a_missing_route_has_a_line_with_the_documents_instance(shown: Served) -> None:
    instance = shown.get("/nothing/%1b[2J").json()["instance"]
    assert shown.logged("/nothing/%1b[2J  404  ")
    assert shown.logged(instance)


def test_a_5xx_is_shown_with_its_traceback(shown: Served) -> None:
    for kind, wanted in (("raise", "ValueError: a secret detail"), ("logged", "ZeroDivisionError: division by zero")):
        request_id = shown.get(f"/faults/{kind}").headers["x-amzn-requestid"]
        assert shown.logged(request_id)
        after = shown.log.read_text().partition(request_id)[2]  # the line and its traceback are printed together
        assert "Traceback (most recent call last):" in after
        assert wanted in after


def test_a_request_that_waited_for_a_start_is_marked(shown: Served) -> None:
    for _ in range(5):  # more than are kept warm, and each ends the one that serves it
        assert shown.get("/faults/exit").status_code == 502
    assert shown.logged("Runtime.ExitError")
    assert shown.logged("cold start")


def test_a_function_is_invoked_by_name_over_the_invoke_api(served: Served) -> None:
    url = f"http://127.0.0.1:{served.invoke_port}/2015-03-31/functions/echo/invocations"
    assert httpx.post(url, json={"a": 1}, timeout=30).status_code == 403
    answer = httpx.post(url, json={"a": 1}, headers={"Authorization": "Bearer token"}, timeout=30)
    assert answer.json()["fired"] == {"a": 1}
    failed = httpx.post(url.replace("echo", "faults"), json={}, headers={"Authorization": "Bearer token"}, timeout=30)
    assert failed.headers["x-amz-function-error"] == "Unhandled"


def test_a_stream_with_a_length_keeps_it_and_one_without_is_chunked(served: Served) -> None:
    small, unknown = served.get("/stream/small"), served.get("/stream/unknown-length")
    assert (small.content, small.headers["content-length"]) == (b"abcdef", "6")
    assert (unknown.content, unknown.headers["transfer-encoding"], unknown.headers["x-a"]) == (
        b"abcdef",
        "chunked",
        "1",
    )
    assert served.get("/stream/refusal").status_code == 401


def test_the_worker_of_a_stream_is_used_again(served: Served) -> None:
    starts = served.log.read_text().count("Init Duration")
    for _ in range(5):
        assert served.get("/stream/small").content == b"abcdef"
        time.sleep(0.05)  # it asks for its next invocation after the client has its bytes
    assert served.log.read_text().count("Init Duration") <= starts + 2


def test_a_streams_bytes_leave_while_the_function_still_runs(served: Served) -> None:
    go = served.directory / "go"
    go.unlink(missing_ok=True)
    with httpx.stream("GET", f"{served.url}/stream/first-byte", timeout=30) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"abc"
        go.touch()
        assert b"".join(pieces) == b"def"


@pytest.mark.parametrize("kind", ["truncated", "trailer", "short", "dies"])
def test_a_client_notices_a_stream_that_broke(served: Served, kind: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        served.get(f"/stream/{kind}")
    assert served.get("/stream/small").content == b"abcdef"


def test_a_stream_that_fails_before_its_first_byte_is_a_502(served: Served) -> None:
    assert served.get("/stream/raise").status_code == 502
    assert served.get("/stream/no-delimiter").status_code == 502


def test_a_streaming_route_that_answers_buffered_is_a_500(served: Served) -> None:
    assert served.get("/stream/buffered").status_code == 500


def test_head_of_a_stream_has_its_length_and_no_body(served: Served) -> None:
    answer = httpx.head(f"{served.url}/stream/head", timeout=30)
    assert (answer.headers["content-length"], answer.content) == ("123456", b"")


def test_a_client_that_stalls_stalls_the_function_and_then_gets_every_byte(served: Served) -> None:
    sent = served.directory / "sent"
    sent.unlink(missing_ok=True)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/stream/big")
    answer = connection.getresponse()
    assert wait_for(sent.exists)
    size = -1
    while size != sent.stat().st_size:  # until the function sends no more
        size = sent.stat().st_size
        time.sleep(0.5)
    assert size < 200  # of 256 blocks: the rest waits in the worker
    digest = hashlib.sha256()
    while piece := answer.read(1 << 20):
        digest.update(piece)
    connection.close()
    assert digest.hexdigest() == hashlib.sha256(bytes(range(256)) * 1024 * 256).hexdigest()


def begin_film(served: Served, path: str) -> tuple[socket.socket, str, str]:
    """A connection with small buffers that has read the head alone of a film that the function has sent whole.

    With the function's process id and the request's id.
    """
    posted = served.directory / "posted"
    before = posted.stat().st_size if posted.exists() else 0
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", served.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert wait_for(lambda: posted.exists() and posted.stat().st_size > before)
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:] if line)
    return connection, fields["x-pid"], fields["x-amzn-RequestId"]


def read_film(connection: socket.socket, slow_seconds: int = 0) -> str:
    """Read to the end, the first seconds 50 KB each; the digest of what came."""
    digest = hashlib.sha256()
    for _ in range(slow_seconds * 10):
        digest.update(connection.recv(5_000))
        time.sleep(0.1)
    while data := connection.recv(65_536):
        digest.update(data)
    connection.close()
    return digest.hexdigest()


def serves_again(served: Served, pid: str) -> bool:
    """Whether the process gets a further request: others are kept busy until it is its turn."""
    with contextlib.ExitStack() as busy:
        for _ in range(20):
            connection, other, _ = begin_film(served, "/stream/film")
            busy.enter_context(connection)
            if other == pid:
                return True
    return False


FILM = hashlib.sha256(bytes(range(256)) * 1024 * 3).hexdigest()


@pytest.mark.parametrize(("stall_seconds", "slow_seconds"), [(0, 6), (3, 0)], ids=["50 KB/s", "stalls"])
def test_a_slow_viewer_gets_its_film_whole_and_its_process_lives(
    served: Served, stall_seconds: int, slow_seconds: int
) -> None:
    connection, pid, request_id = begin_film(served, "/stream/film")
    time.sleep(stall_seconds)
    assert f"END RequestId: {request_id}" not in served.log.read_text()  # it is busy until its viewer has everything
    assert served.get("/stream/film").headers["x-pid"] != pid
    assert read_film(connection, slow_seconds) == FILM
    assert served.logged(f"END RequestId: {request_id}")
    assert serves_again(served, pid)


def test_a_process_that_does_not_wait_for_the_acknowledgement_is_refused_and_ends(served: Served) -> None:
    connection, pid, request_id = begin_film(served, "/stream/early")
    assert served.logged(f"RequestId: {request_id} Error: State transition to Ready failed for runtime.")
    assert wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert served.logged("Error Type: Runtime.ExitError")
    connection.close()  # what of the film was still with the process is lost
    assert served.get("/stream/small").content == b"abcdef"


def test_a_viewer_that_leaves_with_its_film_sent_leaves_the_process_alive(served: Served) -> None:
    connection, pid, _ = begin_film(served, "/stream/film")
    connection.close()
    assert serves_again(served, pid)


def test_a_client_that_leaves_ends_the_functions_sending(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/stream/big")
    connection.getresponse().read(1000)
    before = served.log.read_text().count("STREAM BROKEN")
    connection.close()
    assert wait_for(lambda: served.log.read_text().count("STREAM BROKEN") > before)
    assert served.get("/stream/small").content == b"abcdef"


def test_eight_streams_at_once_arrive_whole(served: Served) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(lambda _: len(served.get("/stream/big").content), range(8)))
    assert sizes == [64 * 1024 * 1024] * 8


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**os.environ, "PORT": str(taken.getsockname()[1]), "LOCAL_DIR": str(tmp_path / "local")}
        done = subprocess.run(
            [sys.executable, "-m", "local", "run"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "set PORT" in done.stderr
    assert not (tmp_path / "local").exists()
