"""The front: a client's request becomes an event, and the function's outcome becomes the answer."""

import asyncio
import json
from collections.abc import Callable, Mapping

from local import answers, gateway
from local.exchange import ClientConnection, Exchange, Source
from local.gateway import Request
from local.http1 import Headers
from local.pool import Pool
from local.routing import Router
from local.runtime_api import Invocation, new_id, new_trace_id
from local.template import Route, Template

# Lambda's limit for the event of a synchronous invocation.
MAX_EVENT_BYTES = 6 * 1024 * 1024


class Front:
    """What all connections share."""

    def __init__(self, template: Template, pools: Mapping[str, Pool], out: Callable[[str], None]) -> None:
        self.template = template
        self.pools = pools
        self.router = Router(template.routes)
        self.out = out

    def connection(self) -> "FrontConnection":
        """A new client's connection."""
        return FrontConnection(self)


class FrontConnection(ClientConnection):
    """One client."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front
        self._call: Call | None = None

    def serve(self, exchange: Exchange) -> None:
        """Route it, and invoke the function."""
        front = self._front
        request = _request(exchange)
        route, variables = front.router.find(request.method, request.path)
        if route is None:
            respond(exchange, request, front.template, "MISSING_AUTHENTICATION_TOKEN")
            return
        if route.mock is not None:
            status, headers, text = route.mock
            exchange.respond(
                status, [(name.encode(), value.encode()) for name, value in headers.items()], text.encode()
            )
            return
        event = json.dumps(gateway.event(request, route, variables, front.template)).encode()
        if len(event) > MAX_EVENT_BYTES:
            respond(exchange, request, front.template, "REQUEST_TOO_LARGE")
            return
        self._call = call = Call(front, exchange, request, route)
        call.invoke(event)

    def too_large(self, exchange: Exchange) -> None:
        """Over API Gateway's 10 MB."""
        respond(exchange, _request(exchange), self._front.template, "REQUEST_TOO_LARGE")

    def left(self, exchange: Exchange) -> None:
        """The client has gone: an invocation that no worker has yet is dropped."""
        call, self._call = self._call, None
        if call is not None and call.exchange is exchange:
            call.left()


class Call:
    """One request's integration: the caller of its invocation."""

    __slots__ = ("_head", "_timer", "exchange", "front", "invocation", "request", "route", "source")

    def __init__(self, front: Front, exchange: Exchange, request: Request, route: Route) -> None:
        self.front = front
        self.exchange = exchange
        self.request = request
        self.route = route
        self.source: Source | None = None
        self._head: bytearray | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.invocation: Invocation | None = None

    def invoke(self, event: bytes) -> None:
        """Hand the event to the function's workers, and begin to wait."""
        self._timer = asyncio.get_running_loop().call_later(self.route.timeout, self._timed_out)
        self.invocation = Invocation(new_id(), event, self, trace_id=self.request.trace_id)
        self.front.pools[self.route.function].submit(self.invocation)

    def left(self) -> None:
        """The client has gone."""
        self._stop_timer()
        if self.source is not None:
            self.source.cancel()
        elif self.invocation is not None:
            self.front.pools[self.route.function].withdraw(self.invocation)

    # Caller, for the Runtime API.

    def answered(self, content_type: str, result: bytes) -> None:  # noqa: ARG002 - a proxy result is JSON whatever it is called
        """The function has returned."""
        self._stop_timer()
        if self.exchange.done:
            return
        if self.route.streaming:
            self._refuse("API_CONFIGURATION_ERROR", "a route in RESPONSE_STREAM mode answered without streaming")
            return
        try:
            status, headers, body = answers.answer(result)
        except answers.MalformedAnswerError as failure:
            self._refuse("INTEGRATION_FAILURE", f"malformed proxy response: {failure}")
            return
        if self.exchange.method != "HEAD":
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        self.exchange.respond(status, self._with_ids(headers), body)

    def failed(self, error_type: str, error: bytes) -> None:  # noqa: ARG002 - the worker's own log tells it; a client never sees it
        """The function has not returned."""
        self._stop_timer()
        if self.exchange.started:
            self.exchange.cut()
        else:
            kind = "INTEGRATION_TIMEOUT" if error_type == "Sandbox.Timedout" else "INTEGRATION_FAILURE"
            respond(self.exchange, self.request, self.front.template, kind)

    def started(self, content_type: str, source: Source) -> None:
        """The function has begun to stream."""
        self.source = source
        self._head = bytearray()
        if self.exchange.done:
            source.cancel()
        elif not self.route.streaming:
            self._refuse("INTEGRATION_FAILURE", "a buffered route streamed its answer")
        elif content_type.partition(";")[0].strip().lower() != answers.STREAM_CONTENT_TYPE:
            self._refuse(
                "API_CONFIGURATION_ERROR",
                f"a streamed answer must be {answers.STREAM_CONTENT_TYPE}, not {content_type!r}",
            )

    def data(self, chunk: bytes) -> None:
        """Bytes of the prelude, or of the body, which go out at once."""
        if self._head is None:
            self.exchange.write(chunk)
        elif not self.exchange.done:
            self._read_prelude(chunk)

    def ended(self, error_type: str | None) -> None:
        """The stream is whole, or broke."""
        self._stop_timer()
        self.source = None
        if self.exchange.done:
            return
        if not self.exchange.started:
            self._refuse("INTEGRATION_FAILURE", f"the stream ended within its prelude ({error_type or 'no delimiter'})")
        elif error_type is not None:
            self.front.out(f"{self.request.request_id} the stream of {self.route.function} broke: {error_type}")
            self.exchange.cut()
        else:
            self.exchange.finish()

    def _read_prelude(self, chunk: bytes) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the caller looks
        head += chunk
        end = head.find(answers.DELIMITER, 0, answers.MAX_PRELUDE_BYTES + len(answers.DELIMITER))
        if end < 0:
            if len(head) > answers.MAX_PRELUDE_BYTES:
                self._refuse("INTEGRATION_FAILURE", "the stream's prelude is longer than 16 KB")
            return
        try:
            status, headers = answers.prelude(bytes(head[:end]))
        except answers.MalformedAnswerError as failure:
            self._refuse("INTEGRATION_FAILURE", f"malformed streamed response: {failure}")
            return
        self._head = None
        length = next((value for name, value in headers if name.lower() == b"content-length"), None)
        source = self.source
        assert source is not None  # noqa: S101 - the stream has started
        announced = int(length) if length is not None and length.isdigit() else None
        if length is not None and announced is None:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        self.exchange.begin(status, self._with_ids(headers), announced, source)
        self.exchange.write(bytes(head[end + len(answers.DELIMITER) :]))

    def _timed_out(self) -> None:
        self._timer = None
        if self.exchange.done:
            return
        self.front.out(f"{self.request.request_id} {self.route.function}: no answer within {self.route.timeout:g} s")
        if self.exchange.started:
            self.exchange.cut()
        else:
            respond(self.exchange, self.request, self.front.template, "INTEGRATION_TIMEOUT")
        self.left()

    def _refuse(self, kind: str, reason: str) -> None:
        self._stop_timer()
        self.front.out(f"{self.request.request_id} {self.route.function}: {reason}")
        source, self.source = self.source, None
        respond(self.exchange, self.request, self.front.template, kind)
        if source is not None:
            source.cancel()

    def _with_ids(self, headers: Headers) -> Headers:
        headers.append((b"x-amzn-RequestId", self.request.request_id.encode()))
        return headers

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def respond(exchange: Exchange, request: Request, template: Template, kind: str) -> None:
    """Answer with a gateway response."""
    context = {"httpMethod": request.method, "identity.sourceIp": request.source_ip}
    status, headers, body = answers.gateway_response(kind, request.request_id, template, context)
    exchange.respond(status, headers, body)


def _request(exchange: Exchange) -> Request:
    given = next((value for name, value in exchange.headers if name.lower() == b"x-amzn-trace-id"), None)
    return Request(
        method=exchange.method,
        target=exchange.target,
        headers=exchange.headers,
        body=exchange.body,
        source_ip=exchange.peer,
        request_id=new_id(),
        trace_id=given.decode("latin-1") if given else new_trace_id(),
        http_version="HTTP/1.1" if exchange.http11 else "HTTP/1.0",
    )
