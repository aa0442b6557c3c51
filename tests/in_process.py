"""An httpx transport that calls the functions' handlers in this process, with the events that API Gateway would make.

So one suite of contract tests runs both over HTTP and, for coverage and for counting SQL, without a server.
"""

import base64
import importlib.util
import re
import sys
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import yaml

from vms.responses import Streamed

ROOT = Path(__file__).parents[1]

type Handler = Callable[[dict[str, Any], Any], Any]


class _Loader(yaml.SafeLoader):
    """Reads a template's short intrinsics (!Ref, !Sub …) as plain values: only routes are wanted here."""


def _plain(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _plain)


def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    return parsed


@cache
def routes() -> dict[tuple[str, str], str]:
    """(method, path) → the function's directory, from template.yaml."""
    found = {}
    for resource in template()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            for event in (resource["Properties"].get("Events") or {}).values():
                if event["Type"] == "Api":
                    key = (event["Properties"]["Method"].upper(), event["Properties"]["Path"])
                    found[key] = Path(resource["Properties"]["CodeUri"]).name
    return found


def load(group: str) -> ModuleType:
    """Import functions/<group>/app.py once, under a name of its own."""
    name = f"functions_{group}_app"
    if name not in sys.modules:
        sys.modules[name] = fresh(group)
    return sys.modules[name]


def fresh(group: str) -> ModuleType:
    """Import functions/<group>/app.py as a new execution environment does."""
    name = f"functions_{group}_app"
    spec = importlib.util.spec_from_file_location(name, ROOT / "functions" / group / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    standing = sys.modules.get(name)
    sys.modules[name] = module  # annotations are resolved by the module's name
    try:
        spec.loader.exec_module(module)
    finally:
        if standing is not None:
            sys.modules[name] = standing
    return module


def context() -> Any:
    return SimpleNamespace(
        aws_request_id=str(uuid.uuid4()),
        function_name="test",
        function_version="$LATEST",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
        get_remaining_time_in_millis=lambda: 29_000,
    )


def _match(method: str, path: str) -> tuple[str, str, dict[str, str]] | None:
    """The most specific resource of this path: its group, its template, its decoded variables."""
    for (candidate, resource), group in sorted(routes().items(), key=lambda item: item[0][1].count("{")):
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(resource))
        found = re.fullmatch(pattern, path)
        if candidate == method and found:
            return group, resource, {name: unquote(value) for name, value in found.groupdict().items()}
    return None


class InProcess(httpx.BaseTransport):
    """Answers each request by the handler of its route."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        match = _match(request.method, path)
        if match is None:
            return httpx.Response(404, json={"type": "urn:vms:error:not-found"})
        group, resource, variables = match
        answer = load(group).lambda_handler(event(request, resource, variables), context())
        if isinstance(answer, Streamed):
            try:
                body_bytes = (answer.first or b"") + b"".join(answer.chunks)
            finally:
                answer.close()
            return httpx.Response(answer.status, headers=list(answer.headers), content=body_bytes)
        body = answer.get("body") or ""
        content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        headers = [(name, value) for name, values in answer["multiValueHeaders"].items() for value in values]
        headers += list(answer.get("headers", {}).items())
        return httpx.Response(answer["statusCode"], headers=headers, content=content)


def event(request: httpx.Request, resource: str, variables: dict[str, str]) -> dict[str, Any]:
    """An API Gateway REST proxy event, payload version 1.0."""
    query = parse_qsl(request.url.query.decode(), keep_blank_values=True)
    body = request.read()
    multi_query: dict[str, list[str]] = {}
    for name, value in query:
        multi_query.setdefault(name, []).append(value)
    path = unquote(request.url.raw_path.decode().partition("?")[0])
    return {
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": dict(request.headers),
        "multiValueHeaders": {name: [value] for name, value in request.headers.items()},
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": multi_query or None,
        "pathParameters": variables or None,
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "stage": "prod",
            "path": path,
            "resourcePath": resource,
            "httpMethod": request.method,
            "domainName": "localhost",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }
