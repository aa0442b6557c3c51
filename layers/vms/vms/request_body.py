"""The body of a request: decoded, of a bounded size, and where a route takes JSON, strictly parsed (RFC 8259)."""

import base64
import json
from typing import Any, NoReturn

from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware

from vms.errors import BadJson, Invalid, TooLarge

MAX_BYTES = 64 * 1024
# U+FFFD, which API Gateway puts in the place of bytes that are not UTF-8: what was sent, such as a password, is lost.
_REPLACED = "\ufffd".encode()


class ValidateRequest(OpenAPIRequestValidationMiddleware):
    """Powertools' validation, but every body is JSON whatever its Content-Type says, strictly parsed, and an object."""

    def _get_body(self, app: Any) -> dict[str, Any] | None:  # type: ignore[override]  # None stands for an empty body
        data = read(app.current_event, MAX_BYTES)
        if not data:
            return None
        if _REPLACED in data:
            raise BadJson
        try:
            body = json.loads(data.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadJson from None
        if not isinstance(body, dict):
            raise Invalid([("body", "must be a JSON object")])
        app.append_context(body=body)
        return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's (RFC 8259 section 6)


def read(event: Any, most: int) -> bytes:
    """A request's body as it was sent, of at most `most` bytes. Raises `TooLarge`; `BadJson` for broken base64."""
    raw = event.body or ""
    data = _decoded(raw) if event.is_base64_encoded else raw.encode("utf-8", "surrogatepass")
    if len(data) > most:
        raise TooLarge(f"The request body is larger than {most // 1024} KiB.")
    return data


def _decoded(raw: str) -> bytes:
    try:
        return base64.b64decode(raw)
    except ValueError:
        raise BadJson from None
