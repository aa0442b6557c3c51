"""A client's connection: its requests in order, with limits and back-pressure."""

import asyncio
import re
from collections import deque

from local.exchange import Exchange
from local.gateway import Request
from local.http1 import HIGH_WATER, LOW_WATER, HttpConnection
from local.invocation import new_id, new_trace_id

# https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)
# Seconds in which a client that was refused may send the rest, to be ignored.
LINGER_SECONDS = 2.0


class ClientConnection(HttpConnection):
    """A client's connection: bodies up to a limit, pipelined requests in order, back-pressure to the source."""

    limits_head_time = True
    most_body_bytes = 10 * 1024 * 1024
    # A body over the limit is still read up to here, for clients that send it all before they read the answer.
    most_drained_bytes = 64 * 1024 * 1024
    most_queued = 8

    def __init__(self) -> None:
        super().__init__()
        self._current: Exchange | None = None  # the one that is being answered
        self._queue: deque[Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading: Exchange | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._half_closed = False
        self._empty: asyncio.Future[None] | None = None  # done when the write buffer is empty
        self.peer = ""

    async def serve(self, exchange: Exchange) -> None:
        """Answer a request, or refuse it if it has a `refusal`. Cancelled when the client goes."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client has connected."""
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""

    def head_complete(self) -> None:
        """Note the request; answer `Expect: 100-continue` (RFC 9110 section 10.1.1)."""
        headers, target = self.headers, self.url
        if absolute := _ABSOLUTE_FORM.fullmatch(target):
            target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
            headers = [(name, absolute[1] if name.lower() == b"host" else value) for name, value in headers]
        hosts = length = 0
        expects, trace = False, ""
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"host":
                hosts += 1
            elif lowered == b"expect":
                expects = value.lower() == b"100-continue"
            elif lowered == b"content-length":
                length = int(value)
            elif lowered == b"x-amzn-trace-id":
                trace = value.decode("latin-1")
        version = "HTTP/1.0" if self.parser.get_http_version() == "1.0" else "HTTP/1.1"
        if hosts > 1 or (version == "HTTP/1.1" and hosts == 0):  # RFC 9112 section 3.2
            self.refuse(400)
            return
        method = self.parser.get_method().decode("ascii", "replace")
        request = Request(method, target, headers, b"", self.peer, new_id(), trace or new_trace_id(), version)
        exchange = Exchange(self, request, keep_alive=self.parser.should_keep_alive())
        self._reading, self._body, self._body_bytes = exchange, [], 0
        if length > (self.most_body_bytes if expects else self.most_drained_bytes):
            self._drop_body(exchange)
        elif expects and self._current is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Keep it, up to the limit."""
        if self._reading is None:
            return
        self._body_bytes += len(body)
        if self._body_bytes <= self.most_body_bytes:
            self._body.append(body)
        else:
            self._body = []
            if self._body_bytes > self.most_drained_bytes:
                self._drop_body(self._reading)

    def request_complete(self) -> None:
        """Serve it, or queue it behind the one that is being answered."""
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.request.body, self._body = b"".join(self._body), []
            exchange.refusal = 413 if self._body_bytes > self.most_body_bytes else 0
            self._accept(exchange)

    def refused(self, status: int) -> None:
        """Answered in its turn: what was asked for before is answered first."""
        request = Request("GET", self.url, [], b"", self.peer, new_id(), new_trace_id())
        self._accept(Exchange(self, request, keep_alive=False, refusal=status))

    def cut(self, *, reset: bool) -> None:
        """Close; with `reset` so that the client sees an error, where a mere end would look like the body's."""
        if reset:
            self.transport.abort()
            return
        self.transport.close()  # what is buffered still goes out first ...
        asyncio.get_running_loop().call_later(5, self.transport.abort)  # ... unless the client takes nothing any more

    async def drained(self) -> None:
        """Wait until the socket has taken all that was written. Cancelled when the client goes."""
        if self.transport.is_closing():
            return
        self.transport.set_write_buffer_limits(0)  # `resume_writing` comes when the buffer is empty
        if self.transport.get_write_buffer_size():
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def pause_writing(self) -> None:
        """asyncio: the client does not keep up, so neither may the source."""
        if (source := self._source()) is not None:
            source.pause_reading()

    def resume_writing(self) -> None:
        """asyncio: the client takes bytes again."""
        if (source := self._source()) is not None:
            source.resume_reading()
        if self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def eof_received(self) -> bool:
        """asyncio: the client will send no more. What it has asked for is still answered (RFC 9112 section 9.6)."""
        self._half_closed = True
        return self._current is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client has gone: whoever works for it may stop."""
        super().connection_lost(exc)
        self._queue.clear()
        if self._current is not None:
            self._current.done = True
        if self._task is not None:
            self._task.cancel()

    def _source(self) -> asyncio.Transport | None:
        source = self._current.source if self._current is not None else None
        return None if source is None or source.is_closing() else source

    def _accept(self, exchange: Exchange) -> None:
        if self._current is not None:
            self._queue.append(exchange)
            if len(self._queue) == self.most_queued:
                self.transport.pause_reading()
            return
        loop = asyncio.get_running_loop()
        # Eager: until it first waits it runs here and now, so that a request costs no further round of the loop.
        self._task = asyncio.Task(self._answer(exchange), loop=loop, eager_start=True)

    async def _answer(self, exchange: Exchange) -> None:
        """Answer this request and those that have come meanwhile."""
        while True:
            self._current = exchange
            try:
                await self.serve(exchange)
            except BaseException:
                self.transport.abort()
                raise
            finally:
                self._current = None
            if self._refused and not self._queue:
                # To close while the client still sends would reset the connection and take the answer with it.
                self.transport.write_eof()
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)
                return
            if not exchange.keep_alive or (self._half_closed and not self._queue):
                self.transport.close()
            if self.transport.is_closing() or not self._queue:
                return
            if len(self._queue) == self.most_queued and not self._half_closed:
                self.transport.resume_reading()
            exchange = self._queue.popleft()

    def _drop_body(self, exchange: Exchange) -> None:
        exchange.refusal, exchange.keep_alive = 413, False
        self._reading, self._refused = None, True
        self._accept(exchange)
