"""The Lambda Runtime API, as a worker's awslambdaric speaks it, on a port of 127.0.0.1.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, and for streamed responses
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming.
A listening port belongs to one worker alone: that is how a connection tells which process speaks.
"""

import asyncio
import json
import os
import time
from typing import Protocol

from local.exchange import Source
from local.http1 import HttpConnection, head_bytes

# The bytes of a buffered result that Lambda takes (6 MB and a little).
MAX_RESULT_BYTES = 6_291_556

_PREFIX = b"/2018-06-01/runtime/"
_INVOCATION = _PREFIX + b"invocation/"
_ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'


def new_id() -> str:
    """A random UUID (RFC 9562 version 4); a tenth of uuid.uuid4's time, and each request takes three."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def new_trace_id() -> str:
    """An X-Ray trace header of a request that is not sampled."""
    return f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Sampled=0"


class Caller(Protocol):
    """Who waits for an invocation's outcome. Either `answered`, or `failed`, or `started`, `data`..., `ended` are called."""

    def answered(self, content_type: str, result: bytes) -> None:
        """A buffered result."""

    def failed(self, error_type: str, error: bytes) -> None:
        """The function raised, died, timed out or could not start. `error` is Lambda's error JSON. May also come instead of `ended`."""

    def started(self, content_type: str, source: Source) -> None:
        """A streamed result begins."""

    def data(self, chunk: bytes) -> None:
        """A piece of it."""

    def ended(self, error_type: str | None) -> None:
        """It is whole, or broke off: then `error_type` says by what."""


class Invocation:
    """One event for one function."""

    __slots__ = (
        "arn",
        "caller",
        "deadline_ms",
        "error_type",
        "event",
        "given_at",
        "init_ms",
        "outcome",
        "reported",
        "request_id",
        "trace_id",
        "waits_since",
    )

    def __init__(self, request_id: str, event: bytes, caller: Caller, *, trace_id: str) -> None:
        self.request_id = request_id
        self.event = event
        self.caller = caller
        self.trace_id = trace_id
        self.arn = ""
        self.deadline_ms = 0
        self.waits_since = time.monotonic()
        self.given_at = 0.0
        self.init_ms: float | None = None
        self.outcome = False  # whether the caller knows how it went, or will by the stream that has begun
        self.error_type: str | None = None
        self.reported = False


class Environment(Protocol):
    """The execution environment that a connection of the Runtime API speaks for."""

    invocation: Invocation | None

    def opened(self, connection: "RuntimeConnection") -> None:
        """The process has connected."""

    def closed(self, connection: "RuntimeConnection") -> None:
        """That connection is gone."""

    def ready(self, connection: "RuntimeConnection") -> None:
        """The process asks for its next invocation on that connection."""

    def init_failed(self, error_type: str, error: bytes) -> None:
        """The process could not initialize and will exit."""

    def completed(self, invocation: Invocation) -> None:
        """The process has delivered its result, or nobody wants it any more."""


class RuntimeConnection(HttpConnection):
    """One connection of a worker: any number of calls, one after the other; also the source of a streamed response."""

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self._environment = environment
        self._kind = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._trailers: dict[bytes, bytes] = {}
        self._streamed: Invocation | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the worker has connected."""
        super().connection_made(transport)
        self._environment.opened(self)

    def give(self, invocation: Invocation) -> None:
        """Answer the pending `next` with this invocation."""
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Lambda-Runtime-Aws-Request-Id: %s\r\nLambda-Runtime-Deadline-Ms: %d\r\n"
            b"Lambda-Runtime-Invoked-Function-Arn: %s\r\nLambda-Runtime-Trace-Id: %s\r\n\r\n%s"
            % (
                len(invocation.event),
                invocation.request_id.encode(),
                invocation.deadline_ms,
                invocation.arn.encode(),
                invocation.trace_id.encode(),
                invocation.event,
            )
        )

    # The source of a streamed response.

    def pause(self) -> None:
        """Read no more from the worker, so that its sends block."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read from the worker again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def cancel(self) -> None:
        """The client is gone: the worker's next send fails."""
        self._streamed = None
        self.transport.abort()

    # HttpConnection.

    def head_complete(self) -> None:
        """Find out which call it is."""
        method, path = self.parser.get_method(), self.url
        self._parts, self._size, self._trailers = [], 0, {}
        self._kind = ""
        if method == b"GET" and path == _INVOCATION + b"next":
            self._kind = "next"
        elif method == b"GET" and path == _PREFIX + b"restore/next":
            self._kind = "restored"
        elif method == b"POST" and path in {_PREFIX + b"init/error", _PREFIX + b"restore/error"}:
            self._kind = "init-error"
        elif method == b"POST" and path.startswith(_INVOCATION):
            request_id, _, call = path[len(_INVOCATION) :].partition(b"/")
            invocation = self._environment.invocation
            if invocation is None or invocation.request_id.encode() != request_id or invocation.outcome:
                self._kind = "stale"
            elif call == b"error":
                self._kind = "error"
            elif call == b"response" and self._header(b"lambda-runtime-function-response-mode") == b"streaming":
                self._kind = "stream"
                self._streamed = invocation
                invocation.outcome = True
                invocation.caller.started(self._header(b"content-type").decode("latin-1"), self)
            elif call == b"response":
                self._kind = "response"

    def on_body(self, body: bytes) -> None:
        """Pass a stream's bytes on at once; keep anything else."""
        if self._kind == "stream":
            if self._streamed is not None:
                self._streamed.caller.data(body)
            return
        self._size += len(body)
        if self._size <= MAX_RESULT_BYTES:
            self._parts.append(body)

    def on_trailer(self, name: bytes, value: bytes) -> None:
        """How a stream that failed says so."""
        self._trailers[name.lower()] = value

    def request_complete(self) -> None:
        """Act on the call."""
        environment, invocation = self._environment, self._environment.invocation
        match self._kind:
            case "next":
                environment.ready(self)
            case "restored":
                self._reply(200, b"")
            case "init-error":
                environment.init_failed(
                    self._header(b"lambda-runtime-function-error-type").decode("latin-1"), b"".join(self._parts)
                )
                self.transport.write(_ACCEPTED)
            case "response" | "error" if invocation is not None:
                self.transport.write(_ACCEPTED)
                self._deliver(invocation)
            case "stream":
                self.transport.write(_ACCEPTED)
                self._end_stream()
            case "stale":
                self._reply(400, b'{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}')
            case _:
                self._reply(404, b'{"errorType":"NotFound","errorMessage":"There is no such call"}')
        if self._kind != "next" and not self.parser.should_keep_alive():
            self.transport.close()  # after what is written has gone out

    def lost(self) -> None:
        """The connection is gone: a stream that was not at its end is a broken one."""
        streamed, self._streamed = self._streamed, None
        if streamed is not None:
            streamed.error_type = streamed.error_type or "Runtime.TruncatedResponse"
            streamed.caller.ended(streamed.error_type)
        self._environment.closed(self)

    def _deliver(self, invocation: Invocation) -> None:
        result, self._parts = b"".join(self._parts), []
        invocation.outcome = True
        if self._size > MAX_RESULT_BYTES:
            invocation.error_type = "Function.ResponseSizeTooLarge"
            message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESULT_BYTES} bytes)."
            result = error_json(invocation.error_type, message)
        elif self._kind == "error":
            invocation.error_type = self._header(b"lambda-runtime-function-error-type").decode("latin-1") or "Unhandled"
        if invocation.error_type is None:
            invocation.caller.answered(self._header(b"content-type").decode("latin-1"), result)
        else:
            invocation.caller.failed(invocation.error_type, result)
        self._environment.completed(invocation)

    def _end_stream(self) -> None:
        invocation, self._streamed = self._streamed, None
        if invocation is None:
            return
        if failed := self._trailers.get(b"lambda-runtime-function-error-type"):
            invocation.error_type = failed.decode("latin-1")
        invocation.caller.ended(invocation.error_type)
        self._environment.completed(invocation)

    def _header(self, wanted: bytes) -> bytes:
        return next((value for name, value in self.headers if name.lower() == wanted), b"")

    def _reply(self, status: int, body: bytes) -> None:
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
        self.transport.write(head_bytes(status, headers) + body)


def error_json(error_type: str, message: str) -> bytes:
    """Lambda's error document."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()
