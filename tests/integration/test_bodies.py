"""The chunks of S3's answers, over TLS and over plain HTTP: the first at once, the others large; and what breaks."""

import os
import queue
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests import certificates
from tests.service import forget
from vms import aws, bodies, storage
from vms.errors import StorageFailed

KIB = 1024
PATIENCE = 30.0  # seconds that a test waits for what must come; only a failure takes so long
BODY = os.urandom(4 * KIB * KIB + 1)
SETTINGS = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
    "JWT_KEYS": "none",
    "VIDEO_BUCKET": "videos",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}

type Step = bytes | threading.Event


class Server:
    """Answers each request by the next of `scripts`: bytes are sent, for an event it waits, then it closes.

    Each piece of bytes is a record, or several of 16 KiB. The requests come out of `asked`.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.asked: queue.Queue[str] = queue.Queue()
        self.scripts: queue.Queue[Sequence[Step]] = queue.Queue()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            client.settimeout(PATIENCE)
            with suppress(OSError), client:
                if self._context is None:
                    self._answer(client)
                else:
                    with self._context.wrap_socket(client, server_side=True) as secure:
                        self._answer(secure)

    def _answer(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(64 * KIB)
        self.asked.put(request.decode())
        for step in self.scripts.get(timeout=PATIENCE):
            if isinstance(step, bytes):
                client.sendall(step)
            else:
                step.wait(PATIENCE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["TLS", "plain"])
def server(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    context = None
    if request.param == "TLS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    made = Server(context)
    settings = {**SETTINGS, "AWS_ENDPOINT_URL_S3": made.url, "SSL_CERT_FILE": str(certificate[0])}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "RETRY_AFTER", (0.01, 0.02))
    storage.close()
    fresh()
    yield made
    storage.close()
    made.stop()
    monkeypatch.undo()
    fresh()


def fresh() -> None:
    """Let settings and trusted authorities be read anew."""
    forget()
    aws.trust.cache_clear()


def whole(*, start: int = 0, length: int = len(BODY)) -> bytes:
    """The head of an answer with the body from `start` on."""
    status = f"206 Partial Content\r\nContent-Range: bytes {start}-{length - 1}/{length}" if start else "200 OK"
    return f'HTTP/1.1 {status}\r\nETag: "x"\r\nContent-Length: {length - start}\r\n\r\n'.encode()


def records(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("size", [len(BODY), 16 * KIB, 1_000], ids=["all at once", "16 KiB each", "1000 bytes each"])
def test_the_first_chunk_leaves_with_the_first_bytes_and_the_others_are_large(server: Server, size: int) -> None:
    held = threading.Event()
    server.scripts.put([whole(), BODY[:700], held, *records(BODY[700:], size)])
    chunks = storage.get("film").chunks()
    taken = [bytes(next(chunks))]
    assert taken[0] == BODY[:700]  # the server has sent no more
    held.set()
    taken += map(bytes, chunks)
    assert b"".join(taken) == BODY
    sizes = [len(chunk) for chunk in taken[1:]]
    assert min(sizes[:-1]) >= bodies.LEAST
    assert max(sizes) <= bodies.CHUNK
    assert len(sizes) <= len(BODY) // bodies.LEAST + 1


def test_a_chunk_does_not_wait_for_more_than_64_kib(server: Server) -> None:
    first, second = threading.Event(), threading.Event()
    begun = 700 + bodies.LEAST + 1
    server.scripts.put([whole(), BODY[:700], first, BODY[700:begun], second, BODY[begun:]])
    chunks = storage.get("film").chunks()
    taken = bytes(next(chunks))
    first.set()
    taken += next(chunks)  # would wait for ever for what is held back
    assert len(taken) >= 700 + bodies.LEAST
    second.set()
    assert taken + b"".join(map(bytes, chunks)) == BODY


def test_what_came_before_a_stall_is_passed_on_and_the_rest_asked_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_IDLE_TIMEOUT_SECONDS", "0.5")
    fresh()
    position = 700 + 10 * KIB
    server.scripts.put([whole(), BODY[:700], BODY[700:position], stalled := threading.Event()])
    server.scripts.put([whole(start=position), BODY[position:]])
    chunks = storage.get("film").chunks()
    taken = bytearray()
    while len(taken) < position:
        taken += next(chunks)
    assert len(taken) == position
    stalled.set()  # the server takes one connection at a time
    for chunk in chunks:
        taken += chunk
    assert taken == BODY
    assert "Range" not in server.asked.get()
    assert re.search(rf"^Range: bytes={position}-{len(BODY) - 1}\r$", server.asked.get(), re.MULTILINE)


def test_a_body_that_breaks_off_is_taken_up_after_its_last_byte(server: Server) -> None:
    position = 700 + 30 * KIB
    server.scripts.put([whole(), BODY[:700], BODY[700:position]])
    server.scripts.put([whole(start=position), BODY[position:]])
    assert b"".join(map(bytes, storage.get("film").chunks())) == BODY


def test_an_answer_shorter_than_its_range_is_not_read_beyond_its_end(server: Server) -> None:
    short, middle = 100 * KIB, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot yours"
    head = whole(start=1, length=short).replace(b"-%d/%d" % (short - 1, short), b"-%d/%d" % (len(BODY) - 1, len(BODY)))
    server.scripts.put([head, BODY[1:700], BODY[700:short], middle])
    server.scripts.put([whole(start=short), BODY[short:]])
    assert b"".join(map(bytes, storage.get("film", "bytes=1-").chunks())) == BODY[1:]


def test_a_connection_serves_again_after_a_body_that_was_read_in_large_chunks(server: Server) -> None:
    second = threading.Event()
    server.scripts.put([whole(), BODY, second, whole(length=1000), BODY[:1000]])
    assert b"".join(map(bytes, storage.get("film").chunks())) == BODY
    connection = storage._connection
    assert connection is not None
    second.set()
    assert b"".join(map(bytes, storage.get("film").chunks())) == BODY[:1000]
    assert storage._connection is connection


@pytest.mark.parametrize("server", ["TLS"], indirect=True)
def test_a_certificate_that_nobody_vouches_for_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    fresh()
    with pytest.raises(StorageFailed):
        storage.get("film")
    assert server.asked.empty()
