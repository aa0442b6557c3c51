"""A client's requests and their answers: in order on each connection, with limits, back-pressure, and cuts that the client notices."""

import asyncio
import re
import time
from collections import deque
from email.utils import formatdate
from functools import lru_cache

from local.http1 import Headers, HttpConnection, field, head_bytes

# https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)

# Seconds in which a client that was refused may send the rest, to be ignored.
LINGER_SECONDS = 2.0


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """The Date header's value (RFC 9110 section 5.6.7), made once a second."""
    return formatdate(second, usegmt=True).encode()


class Exchange:
    """One request and its answer on a client's connection. A whole answer is `respond`; one in pieces is `begin`, `write` and `finish`."""

    __slots__ = ("_chunked", "_connection", "_left", "body", "done", "headers", "http11", "keep_alive", "method", "refusal",
        "source", "started", "status", "target")  # fmt: skip

    def __init__(self, connection: "ClientConnection", method: str, target: bytes, headers: Headers) -> None:
        self._connection = connection
        self.method, self.target, self.headers, self.body = method, target, headers, b""
        self.refusal = 0  # the status of a request that HTTP or a limit forbids to serve
        self.status = 0  # the answer's, once there is one
        self.keep_alive = self.http11 = True
        self.started = self.done = False  # whether the answer's head is out; whether nothing more can be sent
        self.source: asyncio.Transport | None = None  # where the answer's pieces come from
        self._left: int | None = None
        self._chunked = False

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._connection.peer

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer. A HEAD's, a 204's and a 304's body stays here (RFC 9110 section 6.4.1)."""
        if self.done:
            return
        self.status = status
        if status not in {204, 304} and field(headers, b"content-length") is None:
            headers.append((b"Content-Length", b"%d" % len(body)))
        self._finish_head(headers)
        bodiless = self.method == "HEAD" or status in {204, 304}
        self._connection.transport.write(head_bytes(status, headers) + (b"" if bodiless else body))
        self.done = True

    def begin(self, status: int, headers: Headers, length: int | None, source: asyncio.Transport) -> None:
        """Send the head of an answer whose `length` bytes (None: not known) come from `source`."""
        if self.done:
            return
        self.status, self.source, self.started = status, source, True
        if self.method == "HEAD" or status in {204, 304}:
            self._left = 0
        elif length is not None:
            self._left = length
        elif self.http11:
            self._chunked = True
            headers.append((b"Transfer-Encoding", b"chunked"))
        else:
            self.keep_alive = False
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
            data = data if len(data) <= self._left else data[: self._left]
            self._left -= len(data)
        if data:
            self._connection.transport.write(data)

    def finish(self) -> None:
        """The body is whole. If fewer bytes came than were announced, the client learns it by the cut connection."""
        if self._left:
            self.cut()
        elif not self.done:
            self.done, self.source = True, None
            if self._chunked:
                self._connection.transport.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break off so that the client notices: neither the announced length nor the last chunk is ever sent."""
        if not self.done:
            self.done, self.source = True, None
            self._connection.cut(reset=not self._chunked and self._left is None)

    def _finish_head(self, headers: Headers) -> None:
        headers.append((b"Date", http_date(int(time.time()))))
        if not self.keep_alive:
            headers.append((b"Connection", b"close"))
        elif not self.http11:
            headers.append((b"Connection", b"keep-alive"))


class ClientConnection(HttpConnection):
    """A client's connection: takes bodies up to a limit, answers pipelined requests in order, and carries back-pressure to the source."""

    limits_head_time = True
    most_body_bytes = 10 * 1024 * 1024
    # A body over the limit is still read up to here, so that a client which sends it all before it reads gets its answer.
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
        exchange = Exchange(self, self.parser.get_method().decode("ascii", "replace"), target, headers)
        exchange.http11 = self.parser.get_http_version() != "1.0"
        exchange.keep_alive = self.parser.should_keep_alive()
        hosts = length = 0
        expects = False
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"host":
                hosts += 1
            elif lowered == b"expect":
                expects = value.lower() == b"100-continue"
            elif lowered == b"content-length":
                length = int(value)
        if hosts > 1 or (exchange.http11 and hosts == 0):  # RFC 9112 section 3.2
            self.refuse(400)
            return
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
            exchange.body, self._body = b"".join(self._body), []
            exchange.refusal = 413 if self._body_bytes > self.most_body_bytes else 0
            self._accept(exchange)

    def refused(self, status: int) -> None:
        """Answered in its turn: what was asked for before is answered first."""
        exchange = Exchange(self, "GET", self.url, [])
        exchange.refusal, exchange.keep_alive = status, False
        self._accept(exchange)

    def cut(self, *, reset: bool) -> None:
        """Close; with `reset` (a body that only the connection's end delimits) so that the end cannot be taken for the body's."""
        if reset:
            self.transport.abort()
            return
        self.transport.close()  # what is buffered still goes out first ...
        asyncio.get_running_loop().call_later(5, self.transport.abort)  # ... unless the client takes nothing any more

    def pause_writing(self) -> None:
        """asyncio: the client does not keep up, so neither may the source."""
        if self._current is not None and (source := self._current.source) is not None and not source.is_closing():
            source.pause_reading()

    def resume_writing(self) -> None:
        """asyncio: the client takes bytes again."""
        if self._current is not None and (source := self._current.source) is not None and not source.is_closing():
            source.resume_reading()

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
