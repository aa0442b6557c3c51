"""A proxy before PostgreSQL that knows its protocol, shows what is sent, and breaks the connection at a statement.

A statement ends with a Query message (simple protocol) or with a Sync (extended); each is one round trip, and is
counted from 0 over all connections (https://www.postgresql.org/docs/current/protocol-flow.html). Connections do not use
TLS.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# Where the connection breaks: the statement never reaches the server; half of its bytes do; it does, and nobody waits
# for its answer; it was executed and the answer is lost; half of the answer's bytes get through.
type Point = Literal["before", "half sent", "while it runs", "answer lost", "half answered"]
POINTS: tuple[Point, ...] = ("before", "half sent", "while it runs", "answer lost", "half answered")


@dataclass(frozen=True)
class Cut:
    """Break the connection at this point of this statement."""

    statement: int
    point: Point


class DatabaseProxy:
    """Listens on a loopback port and passes everything on to `target`; at `cut`, once, it breaks the connection.

    `watch` sees each message of a client first: its type, empty for the first of a connection, and what it says.
    """

    def __init__(self, target: tuple[str, int], watch: Callable[[bytes, bytes], None] | None = None) -> None:
        self.target = target
        self._watch = watch or (lambda _kind, _content: None)
        self.cut: Cut | None = None
        self.statements = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def expect(self, cut: Cut | None) -> None:
        """Count from 0 again, and break the next connection there."""
        self.statements, self.cut = 0, cut

    def stop(self) -> None:
        """Close everything and wait for it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server, contextlib.suppress(OSError):
            self._sockets += [client, server]
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            startup = _startup(client)
            self._watch(b"", startup[8:])
            server.sendall(startup)
            _log_in(client, server)
            while True:
                kind, statement = _until(client, b"QSX", self._watch)
                if kind == b"X":
                    return
                self._pass(client, server, statement)

    def _pass(self, client: socket.socket, server: socket.socket, statement: bytes) -> None:
        """Pass one statement and its answer, unless it is the one to be cut.

        Raises `OSError` where the connection breaks.
        """
        number, self.statements = self.statements, self.statements + 1
        cut = self.cut.point if self.cut is not None and self.cut.statement == number else None
        if cut is not None:
            self.cut = None
        if cut == "before":
            raise ConnectionError
        server.sendall(statement[: len(statement) // 2] if cut == "half sent" else statement)
        if cut in {"half sent", "while it runs"}:
            raise ConnectionError
        _, answer = _until(server, b"Z")
        if cut == "half answered":
            client.sendall(answer[: len(answer) // 2])
        if cut is not None:
            raise ConnectionError
        client.sendall(answer)


def _startup(client: socket.socket) -> bytes:
    """The first message, which has no type."""
    length = _exactly(client, 4)
    return length + _exactly(client, struct.unpack("!I", length)[0] - 4)


def _log_in(client: socket.socket, server: socket.socket) -> None:
    """Pass on until the server is ready for a statement.

    What it asks for (a password, SCRAM's two steps) the client answers.
    """
    while True:
        kind, message = _message(server)
        client.sendall(message)
        if kind == b"Z":
            return
        if kind == b"R" and struct.unpack("!I", message[5:9])[0] not in {0, 12}:  # AuthenticationOk, SASLFinal
            server.sendall(_message(client)[1])


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """The next message: its type, and all of its bytes."""
    head = _exactly(source, 5)
    return head[:1], head + _exactly(source, struct.unpack("!I", head[1:])[0] - 4)


def _until(
    source: socket.socket, kinds: bytes, watch: Callable[[bytes, bytes], None] | None = None
) -> tuple[bytes, bytes]:
    """The messages up to the first of one of these types: that type, and all of their bytes."""
    gathered = b""
    while True:
        kind, message = _message(source)
        gathered += message
        if watch is not None:
            watch(kind, message[5:])
        if kind in kinds:
            return kind, gathered


def _exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes. Raises `ConnectionError` when the other end has closed."""
    gathered = b""
    while len(gathered) < size:
        more = source.recv(size - len(gathered))
        if not more:
            raise ConnectionError
        gathered += more
    return gathered
