"""The values that a streaming handler returns: a response whose body is made later, a problem, a buffered answer."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from vms.errors import PROBLEM_JSON, Problem, TooLarge

# The JSON prelude and its delimiter of 8 bytes must lie within the first 16 KB.
MAX_PRELUDE = 16 * 1024 - 8
# Bytes of a buffered answer's JSON (Lambda's limit on a synchronous response).
MAX_BUFFERED = 6_291_556
# Seconds before the function's deadline at which a stream is ended as a failure, so that its client notices.
BEFORE_DEADLINE = 0.5

type Headers = Sequence[tuple[str, str]]
# A piece of a body. A view is good until the next piece is asked for.
type Piece = bytes | memoryview


class Streamed:
    """An HTTP response whose body is sent while it is made.

    An opaque object on purpose: tracers that walk a handler's return value would consume a bare generator.
    """

    __slots__ = ("chunks", "deadline", "first", "headers", "held", "status")

    def __init__(
        self, status: int, headers: Headers, chunks: Iterator[Piece] | None = None, *, seconds: float = 840.0
    ) -> None:
        """Hold a response; `seconds` is what the function has left to send it.

        What is pushed to `held` is released by `close`.
        """
        self.status = status
        self.headers = headers
        self.chunks = chunks if chunks is not None else iter(())
        self.first: Piece | None = None
        self.held = ExitStack()
        self.deadline = time.monotonic() + seconds - BEFORE_DEADLINE

    def begin(self, *, whole: bool = False) -> None:
        """Make the first chunk, or the whole body, once: a failure before any byte has left is an error answer."""
        if self.first is None:
            self.first = joined(self.chunks) if whole else next((chunk for chunk in self.chunks if chunk), b"")

    def prelude(self) -> bytes:
        """The JSON that comes before the body. Raises `ValueError` when the headers do not fit."""
        single, multiple, cookies = _sorted(self.headers)
        document: dict[str, Any] = {"statusCode": self.status, "headers": single}
        if multiple:
            document["multiValueHeaders"] = multiple
        if cookies:
            document["cookies"] = cookies
        data = json.dumps(document, separators=(",", ":")).encode()
        if len(data) > MAX_PRELUDE:
            raise ValueError(f"the response's headers have {len(data)} bytes, more than {MAX_PRELUDE}")
        return data

    def close(self) -> None:
        """Stop making chunks, and release what they come from and what is held.

        Whoever sends a response calls it at its end.
        """
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()
        self.held.close()


def joined(chunks: Iterator[Piece]) -> bytes:
    """All of them in one; each is copied before the next is made."""
    return b"".join(bytes(chunk) for chunk in chunks)


def problem(failure: Problem, request_id: str, *, body: bool = True) -> Streamed:
    """A problem document as a streamed response; for HEAD the same headers without the body."""
    data = json.dumps(failure.body(request_id)).encode()
    headers = [("Content-Type", PROBLEM_JSON), ("Content-Length", str(len(data))), *failure.headers.items()]
    return Streamed(failure.status, headers, iter([data] if body else ()))


def buffered(response: Streamed, request_id: str) -> dict[str, Any]:
    """The response as one API Gateway proxy answer, for a platform that cannot stream; 413 if it is too large."""
    try:
        body = bytes(response.first or b"") + joined(response.chunks)
    finally:
        response.close()
    single, multiple, cookies = _sorted(response.headers)
    multi = {name: [value] for name, value in single.items()} | multiple | ({"Set-Cookie": cookies} if cookies else {})
    # API Gateway decodes base64 only for a client whose `Accept` is one of the API's binary types: text is sent as it
    # is.
    plain = single.get("Content-Type") == PROBLEM_JSON
    text = body.decode() if plain else base64.b64encode(body).decode()
    answer = {"statusCode": response.status, "multiValueHeaders": multi, "body": text, "isBase64Encoded": not plain}
    if len(text) + len(json.dumps({**answer, "body": ""})) > MAX_BUFFERED:
        return buffered(
            problem(TooLarge("This answer is too large to be sent whole: ask for it by Range."), request_id), request_id
        )
    return answer


def _sorted(headers: Headers) -> tuple[dict[str, str], dict[str, list[str]], list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    cookies = values.pop("Set-Cookie", [])
    return (
        {name: many[0] for name, many in values.items() if len(many) == 1},
        {name: many for name, many in values.items() if len(many) > 1},
        cookies,
    )
