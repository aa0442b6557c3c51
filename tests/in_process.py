"""An httpx transport that calls the functions' handlers in this process, with the local runner's events.

So one suite of contract tests runs both over HTTP and, for coverage and for counting SQL, without a server.
"""

import base64
import importlib.util
import sys
import uuid
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from local import gateway, sam
from local.gateway import Router
from local.template import REGION, Template
from vms.responses import Streamed, joined

ROOT = Path(__file__).parents[1]


@cache
def served() -> Template:
    """The project's template, as the local runner reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)  # the reader would set it for good
        return sam.load(ROOT / "template.yaml")


@cache
def routes() -> dict[tuple[str, str], str]:
    """(method, path) → the function's directory, from template.yaml."""
    found = served()
    return {(route.method, route.path): found.functions[route.function].directory.name for route in found.routes}


@cache
def _router() -> Router:
    return Router(served().routes)


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
    except BaseException:
        del sys.modules[name]  # it is not whole: the next test imports it again
        raise
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


class InProcess(httpx.BaseTransport):
    """Answers each request by the handler of its route."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = event(request)
        if asked is None:
            return httpx.Response(404)
        group = routes()[asked["httpMethod"], asked["resource"]]
        answer = load(group).lambda_handler(asked, context())
        if isinstance(answer, Streamed):
            try:
                body_bytes = bytes(answer.first or b"") + joined(answer.chunks)
            finally:
                answer.close()
            return httpx.Response(answer.status, headers=list(answer.headers), content=body_bytes)
        body = answer.get("body") or ""
        content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        headers = [(name, value) for name, values in answer["multiValueHeaders"].items() for value in values]
        headers += list(answer.get("headers", {}).items())
        return httpx.Response(answer["statusCode"], headers=headers, content=content)


def event(request: httpx.Request) -> dict[str, Any] | None:
    """The event that the request's function gets; None where the template has no such route."""
    asked = gateway.Request(
        method=request.method,
        target=request.url.raw_path,
        headers=request.headers.raw,
        body=request.read(),
        source_ip="127.0.0.1",
        request_id=str(uuid.uuid4()),
        trace_id="Root=1-00000000-000000000000000000000000",
    )
    route, variables = _router().find(asked.method, asked.path)
    return gateway.event(asked, route, variables, served()) if route else None
