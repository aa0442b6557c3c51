"""The front: a client's request becomes an event, and the function's outcome becomes the answer."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local import answers, gateway
from local.clients import ClientConnection
from local.exchange import Exchange
from local.gateway import Router
from local.http1 import Headers, field
from local.invocation import Invocation, Result, Stream
from local.output import Terminal, error_text
from local.pool import Pool
from local.template import Route, Template

# Lambda's limit for the event of a synchronous invocation.
MAX_EVENT_BYTES = 6 * 1024 * 1024
# What the function never sees, and API Gateway has a response for.
_REFUSALS = {400: "BAD_REQUEST", 413: "REQUEST_TOO_LARGE"}


@dataclass
class Front:
    """What all connections share. Without a `terminal` the requests are not shown."""

    template: Template
    pools: Mapping[str, Pool]
    router: Router
    out: Callable[[str], None]
    terminal: Terminal | None


class FrontConnection(ClientConnection):
    """One client."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    async def serve(self, exchange: Exchange) -> None:
        """Answer a request, and show it."""
        call = Call(self._front, exchange)
        started = time.perf_counter()
        try:
            await call.answer()
        finally:
            call.show((time.perf_counter() - started) * 1000)


class NotServedError(Exception):
    """The function does not answer this request; API Gateway does, with the gateway response `kind`."""

    def __init__(self, kind: str, reason: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Call:
    """One request's way through API Gateway."""

    def __init__(self, front: Front, exchange: Exchange) -> None:
        self._front, self._exchange, self._request = front, exchange, exchange.request
        self._route: Route | None = None
        self._invocation: Invocation | None = None
        self._note = self._traceback = ""

    async def answer(self) -> None:
        """Route it, have the function answer, and send that; or else a gateway response."""
        exchange, request = self._exchange, self._request
        try:
            if exchange.refusal in _REFUSALS:
                raise NotServedError(_REFUSALS[exchange.refusal])
            if exchange.refusal:
                exchange.respond(*answers.problem(exchange.refusal, request.request_id))
            else:
                await self._integrate(*self._find())
        except asyncio.CancelledError:
            self._note = "the client left"
            raise
        except NotServedError as refusal:
            self._note = refusal.reason
            if exchange.started:
                exchange.cut()
            else:
                exchange.respond(*answers.gateway_response(refusal.kind, request.request_id, self._front.template))

    def show(self, ms: float) -> None:
        """Print the request's line, and the traceback of what went wrong in the function."""
        front, exchange, request, route = self._front, self._exchange, self._request, self._route
        function = route.function if route is not None else ""
        if (terminal := front.terminal) is None:
            if self._note:
                front.out(f"{request.request_id} {function}: {self._note}")
            return
        cold = self._invocation.init_ms if self._invocation is not None and self._invocation.cold else None
        terminal.show(terminal.line(request, exchange.status, ms, function, self._note, cold))
        if exchange.status >= 500 and function:
            logged = front.pools[function].log.traceback(request.request_id)
            if traceback := self._traceback or logged:
                terminal.show(terminal.traceback(traceback))

    def _find(self) -> tuple[Route, Mapping[str, str]]:
        route, variables = self._front.router.find(self._request.method, self._request.path)
        if route is None:
            raise NotServedError("MISSING_AUTHENTICATION_TOKEN")
        self._route = route
        return route, variables

    async def _integrate(self, route: Route, variables: Mapping[str, str]) -> None:
        request = self._request
        event = json.dumps(gateway.event(request, route, variables, self._front.template)).encode()
        if len(event) > MAX_EVENT_BYTES:
            raise NotServedError("REQUEST_TOO_LARGE")
        # Lambda gives an invocation an id of its own; here it is the request's, so that one id finds all its lines.
        self._invocation = Invocation(request.request_id, event, request.trace_id)
        try:
            async with asyncio.timeout(route.timeout):
                match await self._front.pools[route.function].invoke(self._invocation):
                    case Stream() as stream:
                        try:
                            await self._pass_on(stream, route)
                        finally:
                            stream.cancel()
                    case result:
                        self._send(result, route)
        except TimeoutError:
            raise NotServedError("INTEGRATION_TIMEOUT", f"no answer within {route.timeout:g} s") from None
        except answers.MalformedAnswerError as failure:
            raise NotServedError("INTEGRATION_FAILURE", f"malformed response: {failure}") from None

    def _send(self, result: Result, route: Route) -> None:
        """Answer with a buffered result."""
        if result.error_type is not None:
            self._traceback = error_text(result.payload)
            timed_out = result.error_type == "Sandbox.Timedout"
            raise NotServedError("INTEGRATION_TIMEOUT" if timed_out else "INTEGRATION_FAILURE", result.error_type)
        if route.streaming:
            raise NotServedError("API_CONFIGURATION_ERROR", "a route in RESPONSE_STREAM mode did not stream its answer")
        status, headers, body = answers.answer(result.payload)
        if self._request.method != "HEAD":
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        self._exchange.respond(status, self._with_id(headers), body)

    async def _pass_on(self, stream: Stream, route: Route) -> None:
        """Answer with a streamed result, piece by piece."""
        if not route.streaming:
            raise NotServedError("INTEGRATION_FAILURE", "a buffered route streamed its answer")
        if stream.content_type.partition(";")[0].strip().lower() != answers.STREAM_CONTENT_TYPE:
            reason = f"a streamed answer must be {answers.STREAM_CONTENT_TYPE}, not {stream.content_type!r}"
            raise NotServedError("API_CONFIGURATION_ERROR", reason)
        prelude = await stream.prelude(answers.DELIMITER, answers.MAX_PRELUDE_BYTES)
        if prelude is None:
            raise NotServedError("INTEGRATION_FAILURE", "the stream ended within its prelude, or that is over 16 KB")
        status, headers = answers.prelude(prelude)
        length = field(headers, b"content-length")
        announced = int(length) if length is not None and length.isdigit() else None
        if announced is None:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        self._exchange.begin(status, self._with_id(headers), announced, stream.transport)
        error_type = await stream.relay(self._exchange.write)
        if error_type is not None:
            stream.acknowledge()
            raise NotServedError("INTEGRATION_FAILURE", f"the stream broke off: {error_type}")
        if not self._exchange.finish():
            raise NotServedError("INTEGRATION_FAILURE", "the stream is shorter than announced")
        await self._exchange.taken()
        stream.acknowledge()

    def _with_id(self, headers: Headers) -> Headers:
        headers.append((b"x-amzn-RequestId", self._request.request_id.encode()))
        return headers
