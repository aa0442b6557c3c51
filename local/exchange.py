"""A client's request and its answer: whole or in pieces, and cut so that the client notices."""

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from local.gateway import Request
from local.http1 import Headers, field, head_bytes

if TYPE_CHECKING:
    from local.clients import ClientConnection


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """The Date header's value (RFC 9110 section 5.6.7), made once a second."""
    return formatdate(second, usegmt=True).encode()


class Exchange:
    """One request and its answer: `respond` sends it whole; `begin`, `write` and `finish` send it in pieces."""

    def __init__(self, connection: "ClientConnection", request: Request, *, keep_alive: bool, refusal: int = 0) -> None:
        self._connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.refusal = refusal  # the status of a request that HTTP or a limit forbids to serve
        self.status = 0  # the answer's, once there is one
        self.started = self.done = False  # whether the answer's head is out; whether nothing more can be sent
        self.source: asyncio.Transport | None = None  # where the answer's pieces come from
        self._left: int | None = None
        self._chunked = False

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer. A HEAD's, a 204's and a 304's body stays here (RFC 9110 section 6.4.1)."""
        if self.done:
            return
        self.status = status
        if status not in {204, 304} and field(headers, b"content-length") is None:
            headers.append((b"Content-Length", b"%d" % len(body)))
        self._finish_head(headers)
        bodiless = self.request.method == "HEAD" or status in {204, 304}
        self._connection.transport.write(head_bytes(status, headers) + (b"" if bodiless else body))
        self.done = True

    def begin(self, status: int, headers: Headers, length: int | None, source: asyncio.Transport) -> None:
        """Send the head of an answer whose `length` bytes (None: not known) come from `source`."""
        if self.done:
            return
        self.status, self.source, self.started = status, source, True
        if self.request.method == "HEAD" or status in {204, 304}:
            self._left = 0
        elif length is not None:
            self._left = length
        elif self.request.http_version == "HTTP/1.1":
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

    def finish(self) -> bool:
        """End the body; False if fewer bytes came than were announced, after which only `cut` is right."""
        if self._left:
            return False
        if self._chunked and not self.done:
            self._connection.transport.write(b"0\r\n\r\n")
        self.done = True
        return True

    async def taken(self) -> None:
        """Wait until the client's socket has taken all that was sent."""
        await self._connection.drained()
        self.source = None

    def cut(self) -> None:
        """Break off so that the client notices: neither the announced length nor the last chunk is ever sent."""
        if not self.done:
            self.done, self.source = True, None
            self._connection.cut(reset=not self._chunked and self._left is None)

    def _finish_head(self, headers: Headers) -> None:
        headers.append((b"Date", http_date(int(time.time()))))
        if not self.keep_alive:
            headers.append((b"Connection", b"close"))
        elif self.request.http_version == "HTTP/1.0":
            headers.append((b"Connection", b"keep-alive"))
