"""A Runtime API server for tests: gives events to a real runtime client and records the raw bytes that it posts.

Written from the public documentation alone, and apart from the local runner's, so that neither proves only itself:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

import contextlib
import json
import queue
import select
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

PATIENCE = 60.0  # seconds that a test waits for what must come; only a failure takes so long
PREFIX = "/2018-06-01/runtime/"
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER of zero seconds: close() sends RST instead of FIN


class Post:
    """A request that the runtime has sent or is sending; `raw` has its bytes so far, with head and framing."""

    def __init__(self, *, keep: bool) -> None:
        self.raw = b""
        self.size = 0
        self.ended = False
        self._keep = keep
        self._changed = threading.Condition()

    def add(self, data: bytes) -> None:
        with self._changed:
            self.size += len(data)
            if self._keep or b"\r\n\r\n" not in self.raw:
                self.raw += data
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, data: bytes) -> None:
        """Until these bytes have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: data in self.raw or self.ended, PATIENCE), "nothing more came"
        assert data in self.raw

    def whole(self) -> Self:
        """Until it has ended, one way or another."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended, PATIENCE), f"it has not ended: {self.raw[-500:]!r}"
        return self

    @property
    def request_line(self) -> str:
        return self.raw.partition(b"\r\n")[0].decode()

    @property
    def path(self) -> str:
        return self.request_line.split(" ")[1]

    @property
    def headers(self) -> dict[str, str]:
        """By name in lower case."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> bytes:
        """What follows the head, framing included."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """The chunks of a chunked body, the last one of no bytes left out."""
        return list(split_chunks(self.body))

    @property
    def trailers(self) -> dict[str, str]:
        """What follows the last chunk, by name in lower case."""
        lines = self.body.rpartition(b"\r\n0\r\n")[2].decode().split("\r\n")
        return {name.lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}

    @property
    def prelude(self) -> dict[str, Any]:
        """The JSON before the delimiter of eight NUL bytes."""
        document: dict[str, Any] = json.loads(b"".join(self.chunks).partition(b"\0" * 8)[0])
        return document

    @property
    def payload(self) -> bytes:
        """The HTTP response's body."""
        joined = b"".join(self.chunks)
        assert joined.count(b"\0" * 8, 0, 16 * 1024), "there is no delimiter within the first 16 KB"
        return joined.partition(b"\0" * 8)[2]


def split_chunks(body: bytes) -> Iterator[bytes]:
    """The chunks of a body in the chunked coding (RFC 9112 section 7.1); extensions and bare LF are refused."""
    position = 0
    while True:
        line, found, _ = body[position : position + 20].partition(b"\r\n")
        assert found, f"there is no size at {position}"
        position += len(line) + 2
        size = int(line, 16)
        if size == 0:
            return
        assert body[position + size : position + size + 2] == b"\r\n", f"the chunk at {position} does not end"
        yield body[position : position + size]
        position += size + 2


@dataclass
class Invocation:
    """An event that waits for a runtime, or has gone to one, and how its answer is treated."""

    event: object
    seconds: float = 60.0
    """Until the function's deadline."""
    invocation_id: str | None = None
    keep: bool = True
    """Whether to keep the answer's bytes rather than only to count them."""
    reset_after: int | None = None
    """So many bytes of the answer are read; then the connection is reset."""
    stall_after: int | None = None
    """So many bytes of the answer are read, and no more until the runtime closes the connection."""
    acknowledge: threading.Event | None = None
    """The answer is acknowledged when this is set, if there is one."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    posts: "queue.Queue[Post]" = field(default_factory=queue.Queue)

    def post(self) -> Post:
        """The next request that the runtime sends about this event, from its first bytes on."""
        return self.posts.get(timeout=PATIENCE)

    def answer(self) -> Post:
        """The same, when it has ended."""
        return self.post().whole()

    def head(self) -> bytes:
        lines = [
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            f"Lambda-Runtime-Aws-Request-Id: {self.request_id}",
            f"Lambda-Runtime-Deadline-Ms: {int((time.time() + self.seconds) * 1000)}",
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:test",
            "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
        ]
        if self.invocation_id:
            lines.append(f"Lambda-Runtime-Invocation-Id: {self.invocation_id}")
        return "\r\n".join(lines).encode()


class RuntimeApi:
    """Listens on a port of 127.0.0.1, for one runtime."""

    def __init__(self) -> None:
        self.init_errors: queue.Queue[Post] = queue.Queue()
        self._waiting: queue.Queue[Invocation] = queue.Queue()
        self._given: dict[str, Invocation] = {}
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def invoke(self, event: object, **more: Any) -> Invocation:
        """Give this event to the runtime when it next asks for one."""
        invocation = Invocation(event, **more)
        self.expect(invocation)
        self._waiting.put(invocation)
        return invocation

    def expect(self, invocation: Invocation) -> Invocation:
        """Take in answers to an event that has been given in another way."""
        self._given[invocation.request_id] = invocation
        return invocation

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, contextlib.suppress(OSError):
            while self._one(connection):
                pass

    def _one(self, connection: socket.socket) -> bool:
        """Serve one request; returns whether the connection may have another."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._receive(connection)
            if not more:
                return False
            data += more
        method, path, _ = data.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "GET":
            assert path == f"{PREFIX}invocation/next"
            return self._give(connection)
        if path == f"{PREFIX}init/error":
            post = Post(keep=True)
            self.init_errors.put(post)
            return self._take(connection, post, data, None)
        request_id, _, call = path.removeprefix(f"{PREFIX}invocation/").partition("/")
        assert call in {"response", "error"}
        invocation = self._given[request_id]
        post = Post(keep=invocation.keep)
        invocation.posts.put(post)
        return self._take(connection, post, data, invocation)

    def _give(self, connection: socket.socket) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(queue.Empty):
                invocation = self._waiting.get(timeout=0.05)
                event = json.dumps(invocation.event).encode()
                connection.sendall(invocation.head() + b"\r\nContent-Length: %d\r\n\r\n" % len(event) + event)
                return True
        return False

    def _take(self, connection: socket.socket, post: Post, data: bytes, invocation: Invocation | None) -> bool:
        """Receive a request's body to its end, as its framing has it, and acknowledge it."""
        try:
            post.add(data)
            framing = _Framing(post.headers.get("content-length"))
            framing.feed(post.body)
            while not framing.ended:
                if invocation and invocation.stall_after is not None and post.size >= invocation.stall_after:
                    self._until_closed(connection)
                    return False
                if invocation and invocation.reset_after is not None and post.size >= invocation.reset_after:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return False
                more = self._receive(connection)
                if not more:
                    return False
                post.add(more)
                framing.feed(more)
            while invocation and invocation.acknowledge and not invocation.acknowledge.wait(0.05):
                if self._over.is_set() or self._closed(connection):
                    return False
            connection.sendall(ACCEPTED)
        finally:
            post.end()
        return post.headers.get("connection") != "close"

    def _until_closed(self, connection: socket.socket) -> None:
        """Without reading, which would let the runtime go on."""
        while not self._over.is_set() and not self._closed(connection):
            time.sleep(0.01)

    @staticmethod
    def _closed(connection: socket.socket) -> bool:
        """Whether the runtime has closed or reset the connection, whatever is left to read."""
        poll = select.poll()
        poll.register(connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _receive(self, connection: socket.socket) -> bytes:
        """Some bytes; none when the runtime has closed the connection, or when the test is over."""
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                return connection.recv(1024 * 1024)
        return b""


class _Framing:
    """Finds a request's end as its bytes come: by its Content-Length, or by its chunks and trailers."""

    def __init__(self, length: str | None) -> None:
        self.ended = length == "0"
        self._chunked = length is None
        self._left = int(length or 0)
        self._line = b""
        self._last = False

    def feed(self, data: bytes) -> None:
        while data and not self.ended:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                self.ended = not self._chunked and self._left == 0
                continue
            line, found, data = (self._line + data).partition(b"\r\n")
            self._line = b"" if found else line
            if found and self._last:
                self.ended = not line
            elif found:
                size = int(line, 16)
                self._left, self._last = size + 2 if size else 0, size == 0
