"""What a client gets: a function's proxy response, or API Gateway's own (a gateway response). No I/O."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from local.gateway import HOP_BY_HOP
from local.http1 import Headers
from local.template import Template

# A streamed answer's prelude ends with these, within its first 16 KB.
DELIMITER = b"\0" * 8
MAX_PRELUDE_BYTES = 16 * 1024
STREAM_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
# Fields that a REST API renames and drops in Lambda's answers ("Amazon API Gateway important notes").
_RENAMED = {"authorization", "connection", "content-md5", "date", "server", "user-agent", "www-authenticate"}
_DROPPED = HOP_BY_HOP | {"host", "proxy-authenticate", "via"}
_VARIABLE = re.compile(r"\$\{context\.([A-Za-z.]+)\}|\$context\.([A-Za-z]+(?:\.[A-Za-z]+)*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class MalformedAnswerError(Exception):
    """What the function returned is not a proxy response."""


def answer(result: bytes) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a buffered proxy response. Raises `MalformedAnswerError`."""
    document = _document(result, {"body", "isBase64Encoded"})
    status, headers = _status_and_headers(document)
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"Content-Type", b"application/json"))
    body = document.get("body")
    if body is None:
        return status, headers, b""
    if not isinstance(body, str):
        raise MalformedAnswerError("its body is not a string")
    if not document.get("isBase64Encoded"):
        return status, headers, body.encode("utf-8", "replace")
    try:
        return status, headers, base64.b64decode(body, validate=True)
    except binascii.Error:
        raise MalformedAnswerError("its body is not base64") from None


def prelude(document: bytes) -> tuple[int, Headers]:
    """Status and headers of a streamed response. Raises `MalformedAnswerError`."""
    parsed = _document(document, {"cookies"})
    status, headers = _status_and_headers(parsed)
    cookies = parsed.get("cookies") or []
    headers += [(b"Set-Cookie", str(cookie).encode("utf-8", "replace")) for cookie in cookies]
    return status, headers


def _document(text: bytes, also: set[str]) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        raise MalformedAnswerError("it is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedAnswerError("it is not an object")
    if unknown := document.keys() - {"statusCode", "headers", "multiValueHeaders"} - also:
        raise MalformedAnswerError(f"it has the unknown member {min(unknown)}")
    return document


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
    in_multi = {name.lower() for name in multi}
    once = {name: [value] for name, value in single.items() if name.lower() not in in_multi}
    headers: Headers = []
    for name, values in (multi | once).items():
        if not isinstance(values, list):
            raise MalformedAnswerError(f"its multiValueHeaders.{name} is not a list")
        headers += [pair for value in values for pair in _header(name, value)]
    return code, headers


def _header(name: str, value: object) -> Headers:
    """The field as the client gets it. A challenge comes by both names, so that clients of either kind are served."""
    if not _TOKEN.fullmatch(name) or isinstance(value, (dict, list)) or value is None:
        raise MalformedAnswerError(f"its header {name!r} has no proper name or value")
    text = (str(value).lower() if isinstance(value, bool) else str(value)).encode("utf-8", "replace")
    lowered, names = name.lower(), [name.encode(), b"x-amzn-Remapped-" + name.encode()]
    if lowered != "www-authenticate":
        names = names[1:] if lowered in _RENAMED else [] if lowered in _DROPPED else names[:1]
    return [(each, text) for each in names]


# Gateway responses: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html.
# Type, its default status and message.
_RESPONSES = {
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "REQUEST_TOO_LARGE": (413, "Request Too Long"),
    "BAD_REQUEST": (400, "Bad Request"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
    "INTEGRATION_FAILURE": (502, "Internal server error"),
    "API_CONFIGURATION_ERROR": (500, "Internal server error"),
}


def gateway_response(kind: str, request_id: str, template: Template) -> tuple[int, Headers, bytes]:
    """The template's gateway response of this type, else its DEFAULT_4XX or DEFAULT_5XX, else API Gateway's own."""
    status, message = _RESPONSES[kind]
    declared = template.gateway_responses.get(kind)
    if declared is not None and declared.status is not None:
        status = declared.status
    declared = declared or template.gateway_responses.get("DEFAULT_4XX" if status < 500 else "DEFAULT_5XX")
    values = {
        "error.message": message,
        "error.messageString": json.dumps(message),
        "requestId": request_id,
        "stage": template.stage,
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


def problem(status: int, request_id: str) -> tuple[int, Headers, bytes]:
    """A problem document (RFC 9457) for what API Gateway has no response of its own."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "instance": request_id}
    headers = [(b"x-amzn-RequestId", request_id.encode()), (b"Content-Type", b"application/problem+json")]
    return status, headers, json.dumps(document).encode()


def _mapped(value: str, values: Mapping[str, str]) -> str:
    if value.startswith("'") and value.endswith("'"):
        return value[1:-1]
    return values.get(value.removeprefix("context."), "")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ""), text)
