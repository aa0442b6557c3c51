"""HTTP/1.1 server connections on httptools, the base of the front and of the Runtime API.

Written on asyncio.Protocol, not on an ASGI server, because bytes then pass from a worker to a client without a task or a queue between
them: measured on two cores, 256 MB streams are about three times as fast, and small requests a third faster.
"""

import asyncio
from http import HTTPStatus
from typing import cast

import httptools

type Headers = list[tuple[bytes, bytes]]

# Bytes of request line and headers that a connection may send before it is refused (API Gateway: 10,240).
MAX_HEAD_BYTES = 64 * 1024
# Above `high` unsent bytes a source is asked to stop, below `low` to go on: about one read, so that 32 streams at once hold a few MiB. Four times
# as much is no faster (make bench-stream).
HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class HttpConnection(asyncio.Protocol):
    """Parses requests; a subclass says what to do with them in `head_complete`, `on_body`, `request_complete` and `lost`."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.url = b""
        self.headers: Headers = []
        self._head_bytes = 0
        self._in_body = False
        self._ignored = False  # refused already: whatever else arrives on this connection

    # What subclasses override.

    def head_complete(self) -> None:
        """The request line and the headers are there; the body may follow."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""

    def on_trailer(self, name: bytes, value: bytes) -> None:
        """A header field after a chunked body."""

    def request_complete(self) -> None:
        """The request is there as a whole."""

    def refused(self, status: int) -> None:
        """The peer does not speak HTTP/1.1 as it should."""
        self.transport.write(head_bytes(status, [(b"Content-Length", b"0"), (b"Connection", b"close")]))
        self.transport.close()

    def lost(self) -> None:
        """The connection is gone."""

    # asyncio.Protocol and httptools call these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a peer has connected."""
        self.transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's own class, which does not inherit from asyncio's
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the cause, it is gone
        """asyncio: the peer has gone."""
        self.lost()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes have arrived."""
        if self._ignored:
            return
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + len(data):
                self.refused(431)
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refused(400)
        except httptools.HttpParserCallbackError:
            raise  # our own failure, not the peer's: asyncio logs it and closes the connection
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self.refused(400)

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self.url = b""
        self.headers = []

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
        self._in_body = True
        if self._head_bytes > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._ignored = True
            self.refused(431)
        else:
            self.head_complete()

    def on_message_complete(self) -> None:
        """httptools: the request is there."""
        self._in_body = False
        self._head_bytes = 0
        if not self._ignored:
            self.request_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)


def head_bytes(status: int, headers: Headers) -> bytes:
    """A status line and header fields, ready to send. Line breaks cannot be smuggled in through a value."""
    head = b"\r\n".join([name + b": " + value for name, value in headers])
    if head.count(b"\n") + head.count(b"\r") > 2 * (len(headers) - 1):
        clean = [(name, value.replace(b"\r", b" ").replace(b"\n", b" ")) for name, value in headers]
        head = b"\r\n".join([name + b": " + value for name, value in clean])
    return b"HTTP/1.1 %d %s\r\n%s\r\n\r\n" % (status, _REASONS.get(status, b""), head)
