"""A client's requests and their answers: in order on each connection, with limits, back-pressure, and cuts that the client notices."""

import asyncio
import time
from email.utils import formatdate
from typing import Protocol

from local.http1 import Headers, HttpConnection, head_bytes

_date_second = 0
_date = b""


def http_date() -> bytes:
    """The Date header's value (RFC 9110 section 5.6.7), made once a second."""
    global _date_second, _date
    second = int(time.time())
    if second != _date_second:
        _date_second, _date = second, formatdate(second, usegmt=True).encode()
    return _date


class Source(Protocol):
    """Where a response's bytes come from."""

    def pause(self) -> None:
        """Stop sending: the client does not keep up."""

    def resume(self) -> None:
        """Go on sending."""

    def cancel(self) -> None:
        """Nobody wants the rest."""


class Exchange:
    """One request and its answer on a client's connection. Everything but `respond` is for answers that come in pieces."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_left",
        "_started",
        "body",
        "done",
        "headers",
        "http11",
        "keep_alive",
        "method",
        "source",
        "target",
    )

    def __init__(self, connection: "ClientConnection", method: str, target: bytes, headers: Headers) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        self.http11 = True
        self.done = False
        self.source: Source | None = None
        self._left: int | None = None
        self._chunked = False
        self._started = False

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._connection.peer

    @property
    def started(self) -> bool:
        """Whether the answer's head is out already."""
        return self._started

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer. A HEAD's, a 204's and a 304's body stays here (RFC 9110 section 6.4.1)."""
        if self.done:
            return
        if (
            status >= 200
            and status not in {204, 304}
            and not any(name.lower() == b"content-length" for name, _ in headers)
        ):
            headers.append((b"Content-Length", b"%d" % len(body)))
        self._finish_head(headers)
        bodiless = self.method == "HEAD" or status in {204, 304}
        self._connection.transport.write(head_bytes(status, headers) + (b"" if bodiless else body))
        self._end()

    def begin(self, status: int, headers: Headers, length: int | None, source: Source) -> None:
        """Send the head of an answer whose `length` bytes (None: not known) `source` will deliver through `write`."""
        if self.done:
            return
        self.source = source
        self._started = True
        if self.method == "HEAD" or status in {204, 304}:
            self._left = 0
        elif length is None and self.http11:
            self._chunked = True
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif length is None:
            self.keep_alive = False
        else:
            self._left = length
        self._finish_head(headers)
        self._connection.transport.write(head_bytes(status, headers))

    def write(self, data: bytes) -> None:
        """Send a piece of the body; never more than was announced."""
        if self.done or not data:
            return
        if self._chunked:
            self._connection.transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
            return
        if self._left is not None:
            if len(data) > self._left:
                data = data[: self._left]
            self._left -= len(data)
        if data:
            self._connection.transport.write(data)

    def finish(self) -> None:
        """The body is whole. If fewer bytes came than were announced, the client learns it by the cut connection."""
        if self.done:
            return
        if self._left:
            self.cut()
            return
        if self._chunked:
            self._connection.transport.write(b"0\r\n\r\n")
        self._end()

    def cut(self) -> None:
        """Break off so that the client notices: neither the announced length nor the last chunk is ever sent."""
        if self.done:
            return
        self.done = True
        self.source = None
        self._connection.cut(reset=not self._chunked and self._left is None)

    def _finish_head(self, headers: Headers) -> None:
        headers.append((b"Date", http_date()))
        if not self.keep_alive:
            headers.append((b"Connection", b"close"))
        elif not self.http11:
            headers.append((b"Connection", b"keep-alive"))

    def _end(self) -> None:
        self.done = True
        self.source = None
        self._connection.answered(self)


class ClientConnection(HttpConnection):
    """A client's connection: takes bodies up to a limit, answers pipelined requests in order, and carries back-pressure to the source."""

    most_body_bytes = 10 * 1024 * 1024
    # A body over the limit is still read up to here, so that a client which sends it all before it reads gets its answer.
    most_drained_bytes = 64 * 1024 * 1024
    most_queued = 8

    def __init__(self) -> None:
        super().__init__()
        self._exchange: Exchange | None = None
        self._reading: Exchange | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._queue: list[Exchange] = []
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client has connected."""
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""

    def serve(self, exchange: Exchange) -> None:
        """A request is there: answer it, now or later."""
        raise NotImplementedError

    def too_large(self, exchange: Exchange) -> None:
        """The body was over the limit and has been dropped: answer so."""
        exchange.respond(413, [], b"")

    def left(self, exchange: Exchange) -> None:
        """The client has gone while `exchange` was open."""

    def head_complete(self) -> None:
        """Note the request; answer `Expect: 100-continue` (RFC 9110 section 10.1.1)."""
        exchange = Exchange(self, self.parser.get_method().decode("ascii", "replace"), self.url, self.headers)
        exchange.http11 = self.parser.get_http_version() != "1.0"
        exchange.keep_alive = self.parser.should_keep_alive()
        self._reading = exchange
        self._body, self._body_bytes = [], 0
        expect = False
        length = 0
        for name, value in self.headers:
            lowered = name.lower()
            if lowered == b"expect" and value.lower() == b"100-continue":
                expect = True
            elif lowered == b"content-length":
                length = int(value)
        if length > (self.most_body_bytes if expect else self.most_drained_bytes):
            self._refuse_body(exchange)
        elif expect and self._exchange is None:
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
                self._refuse_body(self._reading)

    def request_complete(self) -> None:
        """Serve it, or queue it behind the one that is being answered."""
        exchange, self._reading = self._reading, None
        if exchange is None:
            return
        exchange.body = b"".join(self._body)
        self._body = []
        if self._body_bytes > self.most_body_bytes:
            exchange.body = b""
            exchange.source = _TOO_LARGE
        if self._exchange is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)
            if len(self._queue) >= self.most_queued:
                self.transport.pause_reading()

    def answered(self, exchange: Exchange) -> None:
        """The answer is on its way out whole; the next request's turn."""
        self._exchange = None
        if not exchange.keep_alive:
            self.transport.close()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._next)

    def cut(self, *, reset: bool) -> None:
        """Close; with `reset` (a body that only the connection's end delimits) so that the end cannot be taken for the body's."""
        self._exchange = None
        if reset:
            self.transport.abort()
            return
        self.transport.close()  # what is buffered still goes out first ...
        asyncio.get_running_loop().call_later(5, self.transport.abort)  # ... unless the client takes nothing any more

    def pause_writing(self) -> None:
        """asyncio: the client does not keep up."""
        if self._exchange is not None and self._exchange.source is not None:
            self._exchange.source.pause()

    def resume_writing(self) -> None:
        """asyncio: the client takes bytes again."""
        if self._exchange is not None and self._exchange.source is not None:
            self._exchange.source.resume()

    def lost(self) -> None:
        """The client has gone: whoever works for it may stop."""
        exchange, self._exchange, self._queue = self._exchange, None, []
        if exchange is not None and not exchange.done:
            exchange.done = True
            source, exchange.source = exchange.source, None
            if source is not None:
                source.cancel()
            self.left(exchange)

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if exchange.source is _TOO_LARGE:
            exchange.source = None
            self.too_large(exchange)
        else:
            self.serve(exchange)

    def _next(self) -> None:
        if self._exchange is None and self._queue and not self.transport.is_closing():
            if len(self._queue) == self.most_queued:
                self.transport.resume_reading()
            self._start(self._queue.pop(0))

    def _refuse_body(self, exchange: Exchange) -> None:
        exchange.keep_alive = False
        self._reading = None
        if self._exchange is None:
            self._exchange = exchange
            self.too_large(exchange)
        else:
            self.transport.close()


class _TooLarge:
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self) -> None: ...


_TOO_LARGE = _TooLarge()
