"""API Gateway's REST proxy integration, payload version 1.0: routing, events, proxy responses, gateway responses. No I/O.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html. The runner serves without a stage in
the path, as a custom domain name does.
"""

import base64
import binascii
import functools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_plus

from local.http1 import Headers
from local.template import ACCOUNT, Route, Template

# A streamed answer's prelude ends with these, within its first 16 KB.
DELIMITER = b"\0" * 8
MOST_PRELUDE_BYTES = 16 * 1024
STREAM_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"

# Fields that API Gateway does not pass on to the function, and that a function cannot set (they are the connection's).
_NOT_IN_EVENT = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_NOT_IN_ANSWER = frozenset({"connection", "date", "keep-alive", "server", "trailer", "transfer-encoding", "upgrade"})
_ANSWER_KEYS = frozenset({"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class MalformedAnswerError(Exception):
    """What the function returned is no proxy response."""


@dataclass(slots=True)
class _Node:
    """A level of the resource tree."""

    static: dict[str, "_Node"] = field(default_factory=dict)
    variable: "tuple[str, _Node] | None" = None
    greedy: "tuple[str, _Node] | None" = None
    resource: str | None = None
    methods: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the most specific resource: level by level, a fixed part before a variable, and that before a greedy one."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for part in _parts(route.path):
                node = self._child(node, part)
            node.resource = route.path
            node.methods[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """The route of a raw (percent-encoded) path, and its variables decoded; no route if the path or the method is unknown."""
        node, variables = self._walk(self._root, _parts(path), 0, {})
        if node is None:
            return None, {}
        return node.methods.get(method) or node.methods.get("ANY"), variables

    @staticmethod
    def _child(node: _Node, part: str) -> _Node:
        if part.startswith("{") and part.endswith("+}"):
            node.greedy = node.greedy or (part[1:-2], _Node())
            return node.greedy[1]
        if part.startswith("{") and part.endswith("}"):
            node.variable = node.variable or (part[1:-1], _Node())
            return node.variable[1]
        return node.static.setdefault(part, _Node())

    def _walk(
        self, node: _Node, parts: list[str], at: int, variables: dict[str, str]
    ) -> tuple[_Node | None, dict[str, str]]:
        if at == len(parts):
            return (node, variables) if node.resource is not None else (None, {})
        part = parts[at]
        if (child := node.static.get(part) or node.static.get(unquote(part))) is not None:
            found, variables_found = self._walk(child, parts, at + 1, variables)
            if found is not None:
                return found, variables_found
        if node.variable is not None and part:
            name, child = node.variable
            found, variables_found = self._walk(child, parts, at + 1, {**variables, name: unquote(part)})
            if found is not None:
                return found, variables_found
        if node.greedy is not None:
            name, child = node.greedy
            return child, {**variables, name: unquote("/".join(parts[at:]))}
        return None, {}


def _parts(path: str) -> list[str]:
    stripped = path.removeprefix("/").removesuffix("/")
    return stripped.split("/") if stripped else []


@dataclass(slots=True)
class Request:
    """A client's request as it came, and the ids that it got."""

    method: str
    target: bytes
    headers: Headers
    body: bytes
    source_ip: str
    request_id: str
    trace_id: str
    http_version: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """The raw path, without the query. It may hold what is no ASCII: then it is taken for UTF-8."""
        return self.target.partition(b"?")[0].decode("utf-8", "replace") or "/"

    @property
    def query(self) -> str:
        """The raw query string."""
        return self.target.partition(b"?")[2].partition(b"#")[0].decode("utf-8", "replace")


def event(request: Request, route: Route, variables: Mapping[str, str], template: Template) -> dict[str, Any]:
    """The event that the function gets."""
    headers, multi = _event_headers(request)
    query: dict[str, str] = {}
    multi_query: dict[str, list[str]] = {}
    for name, value in _query(request.query):
        query[name] = value
        multi_query.setdefault(name, []).append(value)
    folded = {name.lower(): value for name, value in headers.items()}
    body: str | None = None
    encoded = False
    if request.body:
        encoded = _is_binary(folded.get("content-type", ""), template.binary_media_types)
        body = base64.b64encode(request.body).decode() if encoded else request.body.decode("utf-8", "replace")
    now = time.time()
    host = folded.get("host", "localhost")
    path = request.path
    return {
        "resource": route.path,
        "path": path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": multi,
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": multi_query or None,
        "pathParameters": dict(variables) or None,
        "stageVariables": dict(template.stage_variables) or None,
        "requestContext": {
            "resourceId": "local",
            "resourcePath": route.path,
            "httpMethod": request.method,
            "extendedRequestId": request.request_id[:8] + "LOCAL=",
            "requestTime": _request_time(int(now)),
            "path": path,
            "accountId": ACCOUNT,
            "protocol": request.http_version,
            "stage": template.stage,
            "domainPrefix": host.partition(":")[0].partition(".")[0],
            "requestTimeEpoch": int(now * 1000),
            "requestId": request.request_id,
            "identity": {
                "cognitoIdentityPoolId": None,
                "accountId": None,
                "cognitoIdentityId": None,
                "caller": None,
                "sourceIp": request.source_ip,
                "principalOrgId": None,
                "accessKey": None,
                "cognitoAuthenticationType": None,
                "cognitoAuthenticationProvider": None,
                "userArn": None,
                "userAgent": folded.get("user-agent"),
                "user": None,
            },
            "domainName": host,
            "deploymentId": "local",
            "apiId": "local",
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


@functools.lru_cache(maxsize=1)
def _request_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _event_headers(request: Request) -> tuple[dict[str, str], dict[str, list[str]]]:
    headers: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    forwarded = request.source_ip
    port = "80"
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("utf-8", "replace")
        lowered = name.lower()
        if lowered in _NOT_IN_EVENT:
            continue
        if lowered == "x-forwarded-for":
            forwarded = f"{value}, {forwarded}"
            continue
        if lowered == "host":
            name, port = "Host", value.rpartition(":")[2] if ":" in value else "80"
        name = spelled.setdefault(lowered, name)
        headers[name] = value
        multi.setdefault(name, []).append(value)
    added = {
        "X-Amzn-Trace-Id": request.trace_id,
        "X-Forwarded-For": forwarded,
        "X-Forwarded-Port": port,
        "X-Forwarded-Proto": "http",
    }
    for name, value in added.items():
        name = spelled.get(name.lower(), name)  # noqa: PLW2901 - the client's spelling
        headers[name] = value
        multi[name] = [value]
    return headers, multi


def _query(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield unquote_plus(name), unquote_plus(value)


def _is_binary(content_type: str, binary: Sequence[str]) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return any(
        pattern in {"*/*", kind} or (pattern.endswith("/*") and kind.startswith(pattern[:-1])) for pattern in binary
    )


def answer(result: bytes) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a buffered proxy response. Raises `MalformedAnswerError`."""
    try:
        document = json.loads(result)
    except ValueError:
        raise MalformedAnswerError("it is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedAnswerError("it is not an object")
    if unknown := document.keys() - _ANSWER_KEYS:
        raise MalformedAnswerError(f"it has the unknown member {min(unknown)}")
    status, headers = _status_and_headers(document)
    body = document.get("body")
    if body is None:
        return status, _with_content_type(headers), b""
    if not isinstance(body, str):
        raise MalformedAnswerError("its body is not a string")
    if not document.get("isBase64Encoded"):
        return status, _with_content_type(headers), body.encode("utf-8", "replace")
    try:
        return status, _with_content_type(headers), base64.b64decode(body, validate=True)
    except binascii.Error:
        raise MalformedAnswerError("its body is not base64") from None


def prelude(document: bytes) -> tuple[int, Headers]:
    """Status and headers of a streamed response. Raises `MalformedAnswerError`."""
    try:
        parsed = json.loads(document)
    except ValueError:
        raise MalformedAnswerError("its prelude is not JSON") from None
    if not isinstance(parsed, dict):
        raise MalformedAnswerError("its prelude is not an object")
    if unknown := parsed.keys() - {"statusCode", "headers", "multiValueHeaders", "cookies"}:
        raise MalformedAnswerError(f"its prelude has the unknown member {min(unknown)}")
    status, headers = _status_and_headers(parsed)
    cookies = parsed.get("cookies") or []
    headers += [(b"Set-Cookie", str(cookie).encode("utf-8", "replace")) for cookie in cookies]
    return status, headers


def _status_and_headers(document: Mapping[str, Any]) -> tuple[int, Headers]:
    status = document.get("statusCode")
    try:
        code = int(status) if isinstance(status, (int, str)) and not isinstance(status, bool) else 0
    except ValueError:
        code = 0
    if not 200 <= code <= 599:
        raise MalformedAnswerError(f"its statusCode is {status!r}")
    single, multi = ({} if document.get(key) is None else document[key] for key in ("headers", "multiValueHeaders"))
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise MalformedAnswerError("its headers are not an object")
    headers: Headers = []
    in_multi = {name.lower() for name in multi}
    for name, values in multi.items():
        if not isinstance(values, list):
            raise MalformedAnswerError(f"its multiValueHeaders.{name} is not a list")
        headers += [_header(name, value) for value in values if name.lower() not in _NOT_IN_ANSWER]
    for name, value in single.items():
        if name.lower() not in _NOT_IN_ANSWER and name.lower() not in in_multi:
            headers.append(_header(name, value))
    return code, headers


def _header(name: str, value: object) -> tuple[bytes, bytes]:
    if not _TOKEN.fullmatch(name) or isinstance(value, (dict, list)) or value is None:
        raise MalformedAnswerError(f"its header {name!r} has no proper name or value")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return name.encode(), text.encode("utf-8", "replace")


def _with_content_type(headers: Headers) -> Headers:
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"Content-Type", b"application/json"))
    return headers


# Gateway responses: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html.
# Type, its default status and message.
_RESPONSES = {
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "REQUEST_TOO_LARGE": (413, "Request Too Long"),
    "BAD_REQUEST_BODY": (400, "Bad Request"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
    "INTEGRATION_FAILURE": (502, "Internal server error"),
    "API_CONFIGURATION_ERROR": (500, "Internal server error"),
}


def gateway_response(
    kind: str, request_id: str, template: Template, context: Mapping[str, str] | None = None
) -> tuple[int, Headers, bytes]:
    """The gateway response of this type, as the template words it, or else its DEFAULT_4XX or DEFAULT_5XX, or else API Gateway's own."""
    status, message = _RESPONSES[kind]
    declared = template.gateway_responses.get(kind)
    if declared is not None and declared.status is not None:
        status = declared.status
    declared = declared or template.gateway_responses.get("DEFAULT_4XX" if status < 500 else "DEFAULT_5XX")
    values = {
        "error.message": message,
        "error.messageString": json.dumps(message),
        "error.responseType": kind,
        "requestId": request_id,
        "extendedRequestId": request_id,
        "stage": template.stage,
        "apiId": "local",
        "status": str(status),
        **(context or {}),
    }
    headers: Headers = [(b"x-amzn-RequestId", request_id.encode())]
    content_type, text = "application/json", '{"message":$context.error.messageString}'
    if declared is not None:
        if declared.templates:
            content_type, text = next(iter(declared.templates.items()))
        for name, value in declared.headers.items():
            headers.append((name.encode(), _mapped(value, values).encode()))
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"Content-Type", content_type.encode()))
    return status, headers, _filled(text, values).encode()


def _mapped(value: str, values: Mapping[str, str]) -> str:
    if value.startswith("'") and value.endswith("'"):
        return value[1:-1]
    return values.get(value.removeprefix("context."), "")


def _filled(text: str, values: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        for end in range(len(name), 0, -1):  # a sentence's full stop after a variable is no part of its name
            if name[:end] in values and (end == len(name) or name[end] == "."):
                return values[name[:end]] + name[end:]
        return ""

    return re.sub(r"\$\{context\.([A-Za-z.]+)\}|\$context\.([A-Za-z.]+)", fill, text)


def phrase(status: int) -> str:
    """The usual words for a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
