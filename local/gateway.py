"""API Gateway's routes and its REST proxy integration, payload version 1.0: the events that functions get. No I/O.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html. The runner serves
without a stage in the path, as a custom domain name does.
"""

import base64
import functools
import re
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from local.http1 import Headers
from local.template import ACCOUNT, Route, Template

# Fields that API Gateway does not pass on to the function.
HOP_BY_HOP = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
# What is not percent-encoded in a canonical path.
_PLAIN = "".join(sorted(set(string.printable) - set(string.whitespace) - set("%/")))
# The caller's identity, as far as IAM and Cognito would know it.
_NO_IDENTITY: dict[str, str | None] = dict.fromkeys(
    ("accessKey", "accountId", "caller", "cognitoAuthenticationProvider", "cognitoAuthenticationType",
     "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId", "sourceIp", "user", "userAgent", "userArn")
)  # fmt: skip


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
        """The raw path, without the query. Bytes beyond ASCII are read as UTF-8."""
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
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query[name] = value
        multi_query.setdefault(name, []).append(value)
    folded = {name.lower(): value for name, value in headers.items()}
    encoded = bool(request.body) and _is_binary(folded.get("content-type", ""), template.binary_media_types)
    try:
        body = base64.b64encode(request.body).decode() if encoded else request.body.decode() or None
    except UnicodeDecodeError:  # as base64 the function sees the bytes that were sent
        body, encoded = base64.b64encode(request.body).decode(), True
    return {
        "resource": route.path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": multi,
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": multi_query or None,
        "pathParameters": dict(variables) or None,
        "stageVariables": None,
        "requestContext": _context(request, route, template, folded),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _context(request: Request, route: Route, template: Template, headers: Mapping[str, str]) -> dict[str, Any]:
    now = time.time()
    host = headers.get("host", "localhost")
    return {
        "resourceId": "local",
        "resourcePath": route.path,
        "httpMethod": request.method,
        "extendedRequestId": request.request_id[:8] + "LOCAL=",
        "requestTime": _request_time(int(now)),
        "path": request.path,
        "accountId": ACCOUNT,
        "protocol": request.http_version,
        "stage": template.stage,
        "domainPrefix": host.partition(":")[0].partition(".")[0],
        "requestTimeEpoch": int(now * 1000),
        "requestId": request.request_id,
        "identity": _NO_IDENTITY | {"sourceIp": request.source_ip, "userAgent": headers.get("user-agent")},
        "domainName": host,
        "deploymentId": "local",
        "apiId": "local",
    }


@functools.lru_cache(maxsize=1)
def _request_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _event_headers(request: Request) -> tuple[dict[str, str], dict[str, list[str]]]:
    headers: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    forwarded = request.source_ip
    scheme, port = "http", "80"
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("utf-8", "replace")
        lowered = name.lower()
        if lowered in HOP_BY_HOP:
            continue
        if lowered == "x-forwarded-for":
            forwarded = f"{value}, {forwarded}"
            continue
        if lowered == "x-forwarded-proto":  # of a TLS proxy before the runner
            scheme = "https" if value.lower().startswith("https") else "http"
        if lowered == "host":
            name, port = "Host", value.rpartition(":")[2] if ":" in value else "80"
        name = spelled.setdefault(lowered, name)
        headers[name] = value
        multi.setdefault(name, []).append(value)
    added = {
        "X-Amzn-Trace-Id": request.trace_id,
        "X-Forwarded-For": forwarded,
        "X-Forwarded-Port": port,
        "X-Forwarded-Proto": scheme,
    }
    for name, value in added.items():
        name = spelled.get(name.lower(), name)  # noqa: PLW2901 - the client's spelling
        headers[name] = value
        multi[name] = [value]
    return headers, multi


def _is_binary(content_type: str, binary: Sequence[str]) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return any(
        pattern in {"*/*", kind} or (pattern.endswith("/*") and kind.startswith(pattern[:-1])) for pattern in binary
    )


class Router:
    """Finds the most specific resource: level by level, a fixed part before a variable, and that before a greedy one.

    It is one regular expression with an alternative for each resource, the most specific first.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._methods: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._methods.setdefault(route.path, {})[route.method] = route
        paths = sorted(self._methods, key=lambda path: [_rank(part) for part in path.strip("/").split("/")])
        self._resources: dict[int, tuple[Mapping[str, Route], list[str]]] = {}
        alternatives, group = [], 1
        for path in paths:
            names = [part.strip("{+}") for part in path.split("/") if _rank(part)]
            self._resources[group] = self._methods[path], names
            alternatives.append(f"({'/'.join(_patterns(path.strip('/')))})")
            group += 1 + len(names)
        self._pattern = re.compile(f"/?(?:{'|'.join(alternatives)})/?", re.DOTALL)

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """The route of a raw (percent-encoded) path, None if there is none, and the path's decoded variables."""
        found = self._pattern.fullmatch(_canonical(path))
        if found is None or found.lastindex is None:
            return None, {}
        methods, names = self._resources[found.lastindex]
        values = found.groups()[found.lastindex : found.lastindex + len(names)]
        variables = {name: unquote(value) for name, value in zip(names, values, strict=True)}
        return methods.get(method) or methods.get("ANY"), variables


def _rank(part: str) -> int:
    return 0 if not part.startswith("{") else 2 if part.endswith("+}") else 1


def _patterns(path: str) -> Iterator[str]:
    for part in path.split("/"):
        yield (re.escape(_canonical(part)), "([^/]+)", "(.+)")[_rank(part)]


def _canonical(path: str) -> str:
    """The path with each part encoded in the one way, so that %61 is a."""
    if path.isascii() and "%" not in path:
        return path
    return "/".join(quote(unquote(part), safe=_PLAIN) for part in path.split("/"))
