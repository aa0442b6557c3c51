"""The Lambda Runtime API as a server: what a worker's awslambdaric asks for its invocations, on a port of 127.0.0.1.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, and for streamed responses
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming. A listening port
belongs to one worker alone: that is how a connection tells which process speaks. (The other end of it, for systems that
awslambdaric has no compiled client for, is `stand_in/runtime_client.py`.)

As on AWS, a streamed response is acknowledged only when its client has taken all bytes, and a `next` before that is
refused (rapi/handler/invocationnext.go of aws-lambda-runtime-interface-emulator), which ends the process.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from local.http1 import HttpConnection, field, head_bytes
from local.invocation import Invocation, Result, Stream, error_json

if TYPE_CHECKING:
    from local.workers import Worker

# The bytes of a buffered result that Lambda takes (6 MB and a little).
MAX_RESULT_BYTES = 6_291_556

_PREFIX = b"/2018-06-01/runtime/"
_ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'


class RuntimeConnection(HttpConnection):
    """One connection of a worker: any number of calls, one after the other."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self._worker = worker
        self._act: Callable[[], None] = lambda: None
        self._parts: list[bytes] = []
        self._size = 0
        self._keep_alive = True
        self._error_type: str | None = None  # of the trailer
        self._invocation: Invocation | None = None  # whose result is being posted
        self._stream: Stream | None = None

    def give(self, invocation: Invocation, arn: str, deadline_ms: int) -> None:
        """Answer the pending `next` with this invocation; its deadline is in ms since 1970."""
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(invocation.event)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {invocation.request_id}\r\nLambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {arn}\r\nLambda-Runtime-Trace-Id: {invocation.trace_id}\r\n\r\n"
        )
        self.transport.write(head.encode() + invocation.event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the worker has connected."""
        super().connection_made(transport)
        self._worker.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone; a stream that was not at its end is a broken one."""
        super().connection_lost(exc)
        stream, invocation = self._stream, self._invocation
        if stream is not None and invocation is not None:
            if not stream.ended and not stream.settled:
                invocation.error_type = invocation.error_type or "Runtime.TruncatedResponse"
                stream.settled = True
                stream.end("Runtime.TruncatedResponse")
            if stream.settled:
                self._worker.report(invocation)
        self._worker.closed(self)

    def head_complete(self) -> None:
        """Find out which call it is."""
        self._parts, self._size, self._error_type = [], 0, None
        invocation = self._worker.invocation
        match self.parser.get_method(), self.url.removeprefix(_PREFIX).split(b"/"):
            case b"GET", [b"invocation", b"next"]:
                self._act = self._next
            case b"POST", [b"invocation", request_id, b"response" | b"error" as call]:
                if invocation is None or invocation.request_id.encode() != request_id or invocation.settled:
                    self._act = partial(self._refuse, 400, "InvalidRequestID", "Invalid request ID")
                    return
                self._invocation = invocation
                self._act = partial(self._result, failed=call == b"error")
                mode = field(self.headers, b"lambda-runtime-function-response-mode")
                if call == b"response" and mode == b"streaming":
                    self._act = self._end_stream
                    content_type = field(self.headers, b"content-type") or b""
                    self._stream = Stream(content_type.decode("latin-1"), self.transport, self._accept_stream)
                    invocation.settle(self._stream)
            case b"POST", [b"init", b"error"]:
                self._act = self._init_error
            case _:
                self._act = partial(self._refuse, 404, "NotFound", "There is no such call")

    def on_body(self, body: bytes) -> None:
        """Pass a stream's bytes on at once; keep anything else."""
        if self._stream is not None:
            self._stream.feed(body)
        else:
            self._size += len(body)
            if self._size <= MAX_RESULT_BYTES:
                self._parts.append(body)

    def on_trailer(self, name: bytes, value: bytes) -> None:
        """How a stream that failed says so."""
        if name.lower() == b"lambda-runtime-function-error-type":
            self._error_type = value.decode("latin-1")

    def request_complete(self) -> None:
        """Act on the call."""
        self._keep_alive = self.parser.should_keep_alive()  # the parser knows only now
        self._act()

    def _next(self) -> None:
        if (invocation := self._worker.invocation) is None or invocation.reported:
            self._worker.ready(self)
            return
        message = "State transition to Ready failed for runtime. Error: the response is not acknowledged yet"
        self._worker.pool.log.write(f"RequestId: {invocation.request_id} Error: {message}")
        self._refuse(403, "InvalidStateTransition", message)

    def _result(self, *, failed: bool) -> None:
        self._write(_ACCEPTED)
        payload, self._parts = b"".join(self._parts), []
        invocation = self._invocation
        assert invocation is not None  # noqa: S101 - head_complete has set it
        if self._size > MAX_RESULT_BYTES:
            message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESULT_BYTES} bytes)."
            invocation.fail("Function.ResponseSizeTooLarge", message)
        else:
            invocation.error_type = (self._given_error_type() or "Unhandled") if failed else None
            invocation.settle(Result(payload, invocation.error_type))
        self._worker.report(invocation)

    def _end_stream(self) -> None:
        if self._stream is not None and self._invocation is not None:
            self._invocation.error_type = self._error_type
            self._stream.end(self._error_type)

    def _accept_stream(self) -> None:
        self._stream = None
        if self._invocation is not None:
            self._worker.report(self._invocation)
        if not self.transport.is_closing():  # the worker may have waited for less time
            self._write(_ACCEPTED)

    def _init_error(self) -> None:
        self._worker.init_failed(self._given_error_type() or "Runtime.Unknown", b"".join(self._parts))
        self._write(_ACCEPTED)

    def _given_error_type(self) -> str:
        return (field(self.headers, b"lambda-runtime-function-error-type") or b"").decode("latin-1")

    def _refuse(self, status: int, error_type: str, message: str) -> None:
        body = error_json(error_type, message)
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
        self._write(head_bytes(status, headers) + body)

    def _write(self, answer: bytes) -> None:
        self.transport.write(answer)
        if not self._keep_alive:
            self.transport.close()  # after what is written has gone out
