"""API Gateway's part of the local runner, and what it reads from a template: no I/O but the template's own file."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from local import answers, gateway, output, sam
from local.answers import MalformedAnswerError
from local.gateway import Request, Router
from local.intrinsics import Resolver
from local.output import Terminal, error_text
from local.schedules import event_of, rate_seconds
from local.server import settings_of
from local.template import GatewayResponse, Route, Schedule, Template, TemplateError

PATHS = (
    "/",
    "/v1/videos",
    "/v1/videos/{video}",
    "/v1/videos/id/{video_id}",
    "/v1/videos/stream/{video_id}",
    "/files/{proxy+}",
)
ROUTER = Router([Route("GET", path, "F") for path in PATHS] + [Route("ANY", "/any", "F")])
EMPTY = Template({})


def request(
    target: str = "/v1/videos/x", headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b""
) -> Request:
    return Request(
        "GET", target.encode(), headers or [(b"Host", b"localhost:3000")], body, "127.0.0.1", "the-id", "Root=1-a-b"
    )


def event(target: str = "/v1/videos/x", served: Template = EMPTY, **arguments: Any) -> dict[str, Any]:
    made = request(target, **arguments)
    route, variables = ROUTER.find("GET", made.path)
    assert route is not None
    return gateway.event(made, route, variables, served)


@pytest.mark.parametrize(
    ("path", "resource", "variables"),
    [
        ("/", "/", {}),
        ("/v1/videos", "/v1/videos", {}),
        ("/v1/videos/", "/v1/videos", {}),
        ("/v1/videos/abc", "/v1/videos/{video}", {"video": "abc"}),
        ("/v1/videos/id/7", "/v1/videos/id/{video_id}", {"video_id": "7"}),
        ("/v1/videos/stream/7", "/v1/videos/stream/{video_id}", {"video_id": "7"}),
        ("/v1/videos/id", "/v1/videos/{video}", {"video": "id"}),
        ("/v1/videos/%EB%A3%A8%EB%A8%BC%EB%9E%A9", "/v1/videos/{video}", {"video": "루먼랩"}),
        ("/v1/videos/루먼랩", "/v1/videos/{video}", {"video": "루먼랩"}),
        ("/v1/videos/a%2Fb", "/v1/videos/{video}", {"video": "a/b"}),
        ("/v1/videos/a+b%20c%2B", "/v1/videos/{video}", {"video": "a+b c+"}),
        ("/v1/videos/100%", "/v1/videos/{video}", {"video": "100%"}),
        ("/files/a/b%20c", "/files/{proxy+}", {"proxy": "a/b c"}),
    ],
)
def test_the_most_specific_resource_is_found_with_its_variables_decoded(
    path: str, resource: str, variables: dict[str, str]
) -> None:
    route, found = ROUTER.find("GET", path)
    assert route is not None
    assert (route.path, found) == (resource, variables)


@pytest.mark.parametrize("path", ["/v1", "/v2", "/v1/videos/a/b", "/v1/videos/id/7/8", "//v1/videos", "/v1//videos"])
def test_an_unknown_path_has_no_route(path: str) -> None:
    assert ROUTER.find("GET", path)[0] is None


def test_an_undeclared_method_has_no_route_unless_any_is_declared() -> None:
    assert ROUTER.find("DELETE", "/v1/videos")[0] is None
    assert ROUTER.find("DELETE", "/any")[0] is not None


def test_the_event_has_api_gateways_fields() -> None:
    made = event("/v1/videos/a%20b?x=1", headers=[(b"Host", b"localhost:3000"), (b"User-Agent", b"curl")])
    context = made["requestContext"]
    assert made["path"] == context["path"] == "/v1/videos/a%20b"
    assert made["resource"] == context["resourcePath"] == "/v1/videos/{video}"
    assert (context["requestId"], context["identity"]["sourceIp"], context["identity"]["userAgent"]) == (
        "the-id",
        "127.0.0.1",
        "curl",
    )
    assert (context["protocol"], context["httpMethod"], context["domainName"]) == ("HTTP/1.1", "GET", "localhost:3000")
    assert {
        "apiId",
        "accountId",
        "stage",
        "requestTime",
        "requestTimeEpoch",
        "extendedRequestId",
        "resourceId",
    } <= context.keys()
    assert made["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert (made["headers"]["X-Forwarded-Port"], made["headers"]["X-Forwarded-Proto"]) == ("3000", "http")
    json.dumps(made)


def test_what_a_request_does_not_have_is_null() -> None:
    made = event("/v1/videos")
    for name in (
        "body",
        "pathParameters",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "stageVariables",
    ):
        assert made[name] is None
    assert made["isBase64Encoded"] is False


def test_repeated_headers_and_query_parameters_keep_every_value_and_show_the_last() -> None:
    headers = [
        (b"Host", b"h"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Connection", b"close"),
        (b"Transfer-Encoding", b"chunked"),
    ]
    made = event("/v1/videos?q=1&q=2+3&empty=&bare&%EA%B0%80=%2B", headers=headers)
    assert (made["headers"]["X-A"], made["multiValueHeaders"]["X-A"]) == ("2", ["1", "2"])
    assert "x-a" not in made["headers"]
    assert not {"connection", "transfer-encoding"} & {name.lower() for name in made["headers"]}
    assert made["queryStringParameters"] == {"q": "2 3", "empty": "", "bare": "", "가": "+"}
    assert made["multiValueQueryStringParameters"]["q"] == ["1", "2 3"]


def test_a_proxys_forwarded_for_is_kept_before_the_peers_address() -> None:
    assert event(headers=[(b"X-Forwarded-For", b"10.0.0.1")])["headers"]["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"


@pytest.mark.parametrize(
    ("sent", "scheme"),
    [([], "http"), ([(b"x-forwarded-proto", b"https")], "https"), ([(b"X-Forwarded-Proto", b"gopher")], "http")],
)
def test_the_scheme_is_http_unless_a_tls_proxy_says_https(sent: list[tuple[bytes, bytes]], scheme: str) -> None:
    headers = event(headers=[(b"Host", b"h"), *sent])["headers"]
    assert [value for name, value in headers.items() if name.lower() == "x-forwarded-proto"] == [scheme]


@pytest.mark.parametrize(
    ("kind", "types", "binary"),
    [
        ("application/json", (), False),
        ("video/mp4", ("video/mp4",), True),
        ("Video/MP4; x=y", ("video/mp4",), True),
        ("image/png", ("image/*",), True),
        ("text/plain", ("*/*",), True),
        ("text/plain", ("image/*",), False),
    ],
)
def test_a_body_is_base64_when_binary_media_types_cover_it(kind: str, types: tuple[str, ...], binary: bool) -> None:
    headers = [(b"content-type", kind.encode())]
    made = event(served=Template({}, binary_media_types=types), headers=headers, body=b"\xea\xb0\x80")
    assert made["isBase64Encoded"] is binary
    assert made["body"] == (base64.b64encode(b"\xea\xb0\x80").decode() if binary else "가")


def test_a_proxy_response_becomes_status_headers_and_body() -> None:
    document = {
        "statusCode": "201",
        "headers": {"A": 1, "B": True, "c": "x"},
        "multiValueHeaders": {"C": ["1", "2"]},
        "body": "가",
    }
    status, headers, body = answers.answer(json.dumps(document).encode())
    assert (status, body) == (201, "가".encode())
    assert headers == [
        (b"C", b"1"),
        (b"C", b"2"),
        (b"A", b"1"),
        (b"B", b"true"),
        (b"Content-Type", b"application/json"),
    ]


def test_fields_are_dropped_and_renamed_as_by_a_rest_api() -> None:
    dropped = {"Host", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "Proxy-Authenticate"}
    renamed = {"Authorization", "Connection", "Content-MD5", "Date", "Server", "User-Agent"}
    kept = {"Content-Length", "Content-Encoding", "Content-Type", "ETag", "Age", "X-Own"}
    document = {"statusCode": 200, "headers": dict.fromkeys(sorted(dropped | renamed | kept), "x")}
    text = json.dumps(document).encode()
    for headers in (answers.answer(text)[1], answers.prelude(text)[1]):
        assert {name.decode() for name, _ in headers} == {f"x-amzn-Remapped-{name}" for name in renamed} | kept


def test_a_challenge_comes_by_its_own_name_and_by_that_of_a_rest_api() -> None:
    headers = answers.prelude(b'{"statusCode": 401, "multiValueHeaders": {"WWW-Authenticate": ["Bearer", "Basic"]}}')[1]
    assert headers == [
        (name, value)
        for value in (b"Bearer", b"Basic")
        for name in (b"WWW-Authenticate", b"x-amzn-Remapped-WWW-Authenticate")
    ]


@pytest.mark.parametrize(
    "document",
    [
        b"not json",
        b"null",
        b'"text"',
        b"{}",
        b'{"statusCode": "x"}',
        b'{"statusCode": true}',
        b'{"statusCode": 99}',
        b'{"statusCode": 200, "body": {}}',
        b'{"statusCode": 200, "headers": []}',
        b'{"statusCode": 200, "headers": {"a b": "1"}}',
        b'{"statusCode": 200, "headers": {"a": {}}}',
        b'{"statusCode": 200, "multiValueHeaders": {"a": "1"}}',
        b'{"statusCode": 200, "body": "*", "isBase64Encoded": true}',
        b'{"statusCode": 200, "more": 1}',
    ],
)
def test_any_other_result_is_malformed(document: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        answers.answer(document)


def test_a_streams_prelude_may_have_cookies_but_no_body() -> None:
    status, headers = answers.prelude(
        b'{"statusCode": 206, "headers": {"Content-Range": "bytes 0-1/2"}, "cookies": ["a=1"]}'
    )
    assert (status, headers) == (206, [(b"Content-Range", b"bytes 0-1/2"), (b"Set-Cookie", b"a=1")])
    with pytest.raises(MalformedAnswerError):
        answers.prelude(b'{"statusCode": 200, "body": "x"}')


def test_a_gateway_response_is_the_templates_with_its_variables_filled() -> None:
    declared = GatewayResponse(
        404,
        {"X-Id": "context.requestId", "X-Fixed": "'no'"},
        {"application/json": '{"m": $context.error.messageString, "i": "$context.requestId."}'},
    )
    served = Template({}, gateway_responses={"MISSING_AUTHENTICATION_TOKEN": declared})
    status, headers, body = answers.gateway_response("MISSING_AUTHENTICATION_TOKEN", "the-id", served)
    assert status == 404
    assert {(b"X-Id", b"the-id"), (b"X-Fixed", b"no"), (b"Content-Type", b"application/json")} <= set(headers)
    assert json.loads(body) == {"m": "Missing Authentication Token", "i": "the-id."}


def test_a_gateway_response_falls_back_to_the_default_one_and_then_to_aws_own() -> None:
    served = Template({}, gateway_responses={"DEFAULT_5XX": GatewayResponse(None, {}, {"text/plain": "sorry"})})
    assert answers.gateway_response("INTEGRATION_TIMEOUT", "i", served)[::2] == (504, b"sorry")
    status, _, body = answers.gateway_response("REQUEST_TOO_LARGE", "i", served)
    assert (status, json.loads(body)) == (413, {"message": "Request Too Long"})


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Size"}, "5"),
        ({"Ref": "NoDefault"}, "local-NoDefault"),
        ({"Ref": "Zones"}, ["a", "b"]),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Ref": "Bucket"}, "local-Bucket"),
        ({"Fn::GetAtt": ["Proxy", "Endpoint"]}, "local-Proxy-Endpoint"),
        ({"Fn::GetAtt": "Proxy.Endpoint"}, "local-Proxy-Endpoint"),
        ({"Fn::Sub": "${Size}/${Proxy.Endpoint}/${!Literal}"}, "5/local-Proxy-Endpoint/${Literal}"),
        ({"Fn::Sub": ["${a}", {"a": {"Ref": "Size"}}]}, "5"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Size"}]]}, "a-5"),
        ({"Fn::Select": [1, {"Fn::Split": [",", "x,y"]}]}, "y"),
        ({"Fn::If": ["Big", "yes", "no"]}, "no"),
        ({"Fn::If": ["Other", "yes", "no"]}, "yes"),
        ({"Fn::FindInMap": ["Sizes", "small", "mb"]}, 128),
        ({"Fn::FindInMap": ["Sizes", "none", "mb"]}, "local-findinmap"),
        ({"Fn::Select": [0, {"Fn::Cidr": ["10.0.0.0/16", 2, 8]}]}, "local-cidr"),
        ({"Fn::ImportValue": "x"}, "local-importvalue"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"a": {"Fn::If": ["Big", 1, {"Ref": "AWS::NoValue"}]}}, {}),
    ],
)
def test_intrinsic_functions_resolve_without_an_account(value: Any, resolved: Any) -> None:
    document = {
        "Parameters": {
            "Size": {"Default": "5"},
            "NoDefault": {"Type": "String"},
            "Zones": {"Type": "CommaDelimitedList", "Default": "a, b"},
        },
        "Mappings": {"Sizes": {"small": {"mb": 128}}},
        "Conditions": {
            "Big": {"Fn::Equals": [{"Ref": "Size"}, "10"]},
            "Other": {
                "Fn::And": [
                    {"Fn::Not": [{"Condition": "Big"}]},
                    {"Fn::Or": [{"Condition": "Big"}, {"Fn::Equals": [1, 1]}]},
                ]
            },
        },
    }
    assert Resolver(document, "us-east-1", "0").value(value) == resolved


SAM = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Wanted: {Type: String, Default: "no"}, Every: {Type: String, Default: rate(5 minutes)}}
Conditions: {IsWanted: !Equals [!Ref Wanted, "yes"]}
Globals:
  Function: {Runtime: python3.13, Handler: app.lambda_handler, Timeout: 28, MemorySize: 512, AutoPublishAlias: live,
             CodeUri: one/}
Resources:
  Layer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer/}}
  Bucket: {Type: AWS::S3::Bucket}
  Maybe: {Type: AWS::SNS::Topic, Condition: IsWanted}
  Custom: {Type: Custom::Migration, Properties: {ServiceToken: !GetAtt One.Arn}}
  Api: {Type: AWS::Serverless::Api, Properties: {StageName: prod}}
  One:
    Type: AWS::Serverless::Function
    Properties:
      Layers: [!Ref Layer]
      DeploymentPreference: {Type: Canary10Percent5Minutes}
      Environment: {Variables: {BUCKET: !Ref Bucket, FLAG: true, GONE: !If [IsWanted, x, !Ref AWS::NoValue]}}
      Events:
        Get: {Type: Api, Properties: {RestApiId: !Ref Api, Path: "/a/{b}", Method: get, TimeoutInMillis: 5000}}
        Clock: {Type: ScheduleV2, Properties: {ScheduleExpression: !Ref Every, Input: '{"a": 1}'}}
  Two:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: two/
      FunctionName: !Sub "${AWS::StackName}-two"
      Timeout: 900
      Events:
        Get:
          Type: Api
          Properties: {RestApiId: !Ref Api, Path: /s, Method: get, ResponseTransferMode: RESPONSE_STREAM}
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Template:
    directory = tmp_path_factory.mktemp("project")
    for name in ("one", "two", "layer", "cache"):
        (directory / name).mkdir()
    (directory / "template.yaml").write_text(SAM)
    first = sam.load(directory / "template.yaml", directory / "cache")
    assert sam.load(directory / "template.yaml", directory / "cache") == first  # the second time from the cache
    return first


def test_functions_have_their_settings_their_layers_and_the_globals(read: Template) -> None:
    one, two = read.function("one"), read.function("Two")
    assert (one.timeout, one.memory_mb, one.handler, one.directory.name) == (28, 512, "app.lambda_handler", "one")
    assert [path.name for path in one.python_path] == ["layer"]
    assert one.environment == {"BUCKET": "local-Bucket", "FLAG": "true"}
    assert (two.function_name, two.timeout) == ("local-two", 900)
    assert read.function("local-two") is two


def test_routes_have_their_function_their_time_out_and_their_mode(read: Template) -> None:
    routes = {(route.method, route.path): route for route in read.routes}
    get, stream = routes["GET", "/a/{b}"], routes["GET", "/s"]
    assert (get.function, get.timeout, get.streaming) == ("One", 5, False)
    assert (stream.function, stream.timeout, stream.streaming) == ("Two", 29, True)
    assert read.stage == "prod"


def test_schedules_have_their_rate_and_their_input(read: Template) -> None:
    (schedule,) = read.schedules
    assert (schedule.function, rate_seconds(schedule.expression), event_of(schedule)) == ("One", 300, {"a": 1})


def test_an_unknown_function_is_refused_with_the_known_names(read: Template) -> None:
    with pytest.raises(TemplateError, match="there is no function x: the template has one, two"):
        read.function("x")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- list",
        "Resources: 1",
        "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: AWS::Serverless::Function}}",
    ],
)
def test_a_broken_template_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "template.yaml").write_text(text)
    with pytest.raises(TemplateError):
        sam.load(tmp_path / "template.yaml")


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("rate(1 minute)", 60),
        ("rate(2 hours)", 7200),
        ("rate(1 day)", 86400),
        ("rate(0 days)", None),
        ("cron(0 1 * * ? *)", None),
    ],
)
def test_only_rates_are_fired(expression: str, seconds: int | None) -> None:
    assert rate_seconds(expression) == seconds


def test_a_schedule_without_input_sends_eventbridges_event() -> None:
    sent = event_of(Schedule("Rule", "One", "rate(1 day)", None))
    assert (sent["source"], sent["detail-type"]) == ("aws.events", "Scheduled Event")


def test_a_setting_is_the_runners_or_the_hosts_or_the_templates_and_only_if_declared(read: Template) -> None:
    one = read.function("one")
    assert settings_of(one, {"BUCKET": "videos", "X": "1"}, {"FLAG": "false", "BUCKET": "hosts", "PATH": "/"}) == {
        "BUCKET": "videos",
        "FLAG": "false",
    }


def test_a_requests_line_has_colours_on_a_terminal_and_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request("/a")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert (
        Terminal().line(asked, 200, 1.25, "EchoFunction", cold=310.4)
        == "GET    /a  200  1.2 ms  Echo  the-id  cold start 310 ms"
    )
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\033[32m200\033[0m" in Terminal().line(asked, 200, 1.25, "EchoFunction")
    assert "\033[31m500\033[0m" in Terminal().line(asked, 500, 1.25, "EchoFunction")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in Terminal().line(asked, 200, 1.25, "EchoFunction")


def test_nothing_that_a_client_sends_steers_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    terminal = Terminal()
    assert "\033" not in terminal.line(request("/\033[2J\u202e"), 502, 1.0, "F", "\033]0;title\a")
    assert terminal.traceback("a\n\033[2Jb") == "    a\n    \\x1b[2Jb"


def test_an_error_document_is_shown_as_a_traceback() -> None:
    document = {"errorType": "ValueError", "errorMessage": "no", "stackTrace": ['  File "app.py", line 1\n    x()\n']}
    shown = error_text(json.dumps(document).encode())
    assert shown.splitlines() == [
        "Traceback (most recent call last):",
        '  File "app.py", line 1',
        "    x()",
        "ValueError: no",
    ]
    assert error_text(b"not JSON") == ""


def test_a_log_is_bounded_and_finds_a_requests_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_BYTES", 50_000)
    log = output.Log(tmp_path / "echo.log")
    for number in range(400):
        log.write(json.dumps({"correlation_id": f"id-{number}", "exception": f"trace {number}", "pad": "x" * 1000}))
    assert log.traceback("id-399") == "trace 399"
    assert log.traceback("id-0") is None
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"echo.log", "echo.log.1"}
    assert all(size < 100_000 for size in sizes.values())


def test_a_path_is_the_same_however_its_characters_are_encoded() -> None:
    route, variables = ROUTER.find("GET", "/v1/vide%6Fs/id/%37")
    assert route is not None
    assert (route.path, variables) == ("/v1/videos/id/{video_id}", {"video_id": "7"})
