"""A TCP proxy before the S3 server that breaks connections on purpose.

Each new connection takes the next fault of a list; when the list is empty, connections pass untouched.
"""

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    `after` bytes of the server's answer have passed (None: before the server was asked), it is closed, reset, or stalls
    until the proxy stops; or the client gets `answer` and the server hears nothing. `meanwhile` is called at that
    moment.
    """

    kind: Literal["close", "reset", "stall", "answer"]
    after: int | None = None
    answer: bytes = b""
    meanwhile: Callable[[], object] | None = None


def refusal(status: str) -> Fault:
    """An answer with this status line's end (`503 Slow Down`), as S3 makes it, and the connection stays open."""
    body = b"<Error><Code>SlowDown</Code></Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return Fault("answer", answer=head.encode() + body)


class FaultProxy:
    """Listens on a loopback port and passes everything on to `target`, but for `faults`, taken in order."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.faults: deque[Fault] = deque()
        self.connections = 0
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def stop(self) -> None:
        """Close everything and wait for it."""
        self._over.set()
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def reset(self) -> None:
        """Forget all faults, and end the connections that stand."""
        self.faults.clear()
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self.connections = 0

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self.connections += 1
                fault = self.faults.popleft() if self.faults else None
                thread = threading.Thread(target=self._serve, args=(client, fault))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, fault: Fault | None) -> None:
        self._clients.add(client)
        try:
            with client, contextlib.suppress(OSError):
                if fault is not None and fault.after is None:
                    client.recv(65536)
                    self._happen(client, fault)
                    return
                with socket.create_connection(self.target) as server:
                    self._pass(client, server, fault)
        finally:
            self._clients.discard(client)

    def _pass(self, client: socket.socket, server: socket.socket, fault: Fault | None) -> None:
        passed = 0
        for source, data in self._pieces(client, server):
            if source is client:
                server.sendall(data)
                continue
            if fault is not None and fault.after is not None and passed + len(data) >= fault.after:
                client.sendall(data[: fault.after - passed])
                self._happen(client, fault)
                return
            client.sendall(data)
            passed += len(data)

    def _pieces(self, *ends: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
        while not self._over.is_set():
            for source in select.select(ends, [], [], 0.05)[0]:
                data = source.recv(65536)
                if not data:
                    return
                yield source, data

    def _happen(self, client: socket.socket, fault: Fault) -> None:
        if fault.meanwhile is not None:
            fault.meanwhile()
        if fault.kind == "answer":
            client.sendall(fault.answer)
        if fault.kind in {"answer", "stall"}:
            client.settimeout(0.05)
            while not self._over.is_set():  # until the client has had enough
                with contextlib.suppress(TimeoutError):
                    if not client.recv(65536):
                        return
        if fault.kind == "reset":
            # Zero seconds to linger: the peer gets RST instead of FIN.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
