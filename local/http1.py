"""HTTP/1.1 server connections on httptools, the base of the front and of the Runtime API.

Written on asyncio.Protocol, not on an ASGI server, because bytes then pass from a worker to a client without a task or
a queue: measured on two cores, 256 MB streams are about three times as fast, small requests a third faster.
"""

import asyncio
from http import HTTPStatus
from typing import cast

import httptools

type Headers = list[tuple[bytes, bytes]]

# Bytes of request line and headers that a connection may send before it is refused (API Gateway: 10,240).
MAX_HEAD_BYTES = 64 * 1024
# Seconds that a client has for the head of a request, from its connection or from the first byte of a later request on.
HEAD_SECONDS = 20.0
# Above `high` unsent bytes a source is asked to stop, below `low` to go on: about one read, so that 32 streams at once
# hold a few MiB. Four times as much is no faster (make bench-stream).
HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class HttpConnection(asyncio.Protocol):
    """Parses requests. Subclasses override `head_complete`, `on_body`, `on_trailer` and `request_complete`."""

    limits_head_time = False

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.url = b""
        self.headers: Headers = []
        self._head_bytes = 0
        self._in_head = self._in_body = self._upgrades = False
        self._refused = False  # whatever else arrives on this connection is ignored
        self._timer: asyncio.TimerHandle | None = None

    def head_complete(self) -> None:
        """The request line and the headers are there; the body may follow."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""

    def on_trailer(self, name: bytes, value: bytes) -> None:
        """A header field after a chunked body."""

    def request_complete(self) -> None:
        """The request is there as a whole."""

    def refused(self, status: int) -> None:
        """The peer does not speak HTTP/1.1 as it should: answer so, and close."""
        self.transport.write(head_bytes(status, [(b"Content-Length", b"0"), (b"Connection", b"close")]))
        self.transport.close()

    def refuse(self, status: int) -> None:
        """Take nothing more from this peer."""
        self._refused = True
        self._stop_timer()
        self.refused(status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a peer has connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class, no subclass of asyncio's
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._limit_head_time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the cause, it is gone
        """asyncio: the peer has gone."""
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes have arrived."""
        if self._refused:
            return
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + len(data):
                self.refuse(431)
                return
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserCallbackError:
            raise  # our own failure, not the peer's: asyncio logs it and closes the connection
        except httptools.HttpParserError:
            if not self._refused and not self.transport.is_closing():
                self.refuse(400)
        if self._in_head and self._timer is None and not self._refused:
            self._limit_head_time()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self.url, self.headers = b"", []
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the request target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header field, or after the body a trailer field."""
        if self._in_body:
            self.on_trailer(name, value)
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """httptools: the head is there."""
        self._in_head = False
        self._stop_timer()
        self._upgrades = self.parser.should_upgrade()
        if self._refused or self._upgrades:
            return
        self._in_body = True
        if self._head_bytes > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self.refuse(431)
        else:
            self.head_complete()

    def on_message_complete(self) -> None:
        """httptools: the request is there."""
        self._in_body = False
        self._head_bytes = 0
        if not self._refused and not self._upgrades:
            self.request_complete()

    def _feed(self, data: bytes) -> bytes:
        """Parse; returns what is to be parsed anew.

        An upgrade is ignored (RFC 9110 section 7.8). httptools takes what follows its head for the other protocol, and
        so does not read the body: that head is parsed once more without the Upgrade field.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._refused:
                return b""
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":  # there is no proxy here
                self.refuse(400)
                return b""
            fields = [b"%s: %s\r\n" % (name, value) for name, value in self.headers if name.lower() != b"upgrade"]
            head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(fields))
            self.parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :]
        return b""

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _limit_head_time(self) -> None:
        if self.limits_head_time:
            self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.refuse, 408)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def head_bytes(status: int, headers: Headers) -> bytes:
    """A status line and header fields, ready to send. Line breaks cannot be smuggled in through a value."""
    head = b"\r\n".join([name + b": " + value for name, value in headers])
    if head.count(b"\n") + head.count(b"\r") > 2 * (len(headers) - 1):
        clean = [(name, value.replace(b"\r", b" ").replace(b"\n", b" ")) for name, value in headers]
        head = b"\r\n".join([name + b": " + value for name, value in clean])
    return b"HTTP/1.1 %d %s\r\n%s\r\n\r\n" % (status, _REASONS.get(status, b""), head)


def field(headers: Headers, wanted: bytes) -> bytes | None:
    """The first value of a header field, by its name in lower case."""
    return next((value for name, value in headers if name.lower() == wanted), None)
