"""The bodies of S3's answers, read in chunks that are worth a send each, over TLS too.

A read from a TLS connection gives one record, at most 16 KiB of it (RFC 8446 section 5.1), and http.client's reader
takes 8 KiB at a time: passed on like that, a film is sixteen times as many chunks as over plain HTTP.
"""

import http.client
import socket
from typing import Any

# The most and, but for the first and the last, the least bytes of a chunk.
CHUNK, LEAST = 256 * 1024, 64 * 1024


class Body(http.client.HTTPResponse):
    """An answer whose body is read in chunks. The caller sets the socket's time-out before the first."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        """As http.client calls its `response_class`."""
        super().__init__(sock, *arguments, **named)
        self._socket = sock
        self._buffer: memoryview | None = None
        self._broken = False

    def read_chunk(self, most: int) -> bytes | memoryview:
        """The next bytes, at most `most` and 256 KiB; none at the end. They are good until the next call.

        The first chunk is what is there first. A later one has at least 64 KiB, if the body has; beyond these it takes
        only what is there already.

        Raises:
            OSError, http.client.HTTPException: it broke off, or nothing came within the time-out.
        """
        if self._buffer is None or self.chunked:
            self._buffer = self._buffer or memoryview(bytearray(CHUNK))
            return self.read1(min(CHUNK, most))  # and http.client's own buffer is empty, or nobody wants the rest
        if self._broken or self.length == 0:
            return b""
        size = self._fill(self._buffer[: most if self.length is None else min(most, self.length)])
        if self.length is not None:
            self.length -= size
        return self._buffer[:size]

    def _fill(self, buffer: memoryview) -> int:
        """Receive into the buffer; how much has come. A failure is raised only if that is nothing."""
        size, patience = 0, self._socket.gettimeout()
        try:
            while size < len(buffer):
                if size >= LEAST and self._socket.gettimeout():
                    self._socket.settimeout(0)
                received = self._socket.recv_into(buffer[size:])
                if not received:
                    break
                size += received
        except OSError:
            self._broken = size < LEAST  # else nothing more is there now, which is not a failure
            if not size:
                raise
        finally:
            self._socket.settimeout(patience)
        return size
