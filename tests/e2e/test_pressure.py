"""Clients that are slow, stalled, gone or greedy: each gets what it can take, none holds up another."""

import contextlib
import hashlib
import os
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from local.s3 import S3
from tests.e2e.clients import Company, Person, add_member, found_company, problem
from tests.e2e.films import FILM, bucket_of, put, workers
from tests.runner import Runner
from tests.service import Service

pytestmark = pytest.mark.transports("over_http")

MIB = 1024 * 1024
STALL_SECONDS = 8.0
STREAMS = 16
PATIENCE = 60.0  # seconds that a test waits for what must come; only a failure takes so long
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST instead of FIN
BLOCK = os.urandom(MIB)
LONG = BLOCK * 48


@pytest.fixture(scope="module", autouse=True)
def here(service: Service) -> None:
    if service.elsewhere:
        pytest.skip("a service elsewhere: its limits are others, and its processes cannot be seen from here")


@pytest.fixture(scope="module")
def long(acme: Company, bucket: S3) -> int:
    """A video that the buffers on the way do not hold."""
    return acme.video(file_path=put(bucket, acme, LONG))


@pytest.fixture(scope="module")
def short(acme: Company, bucket: S3) -> int:
    return acme.video(file_path=put(bucket, acme, FILM))


def stream(video: int) -> str:
    return f"/v1/videos/stream/{video}"


def asking(service: Service, viewer: Person, video: int, *, buffer: int = 64 * 1024) -> socket.socket:
    """A client that has asked for the whole video, has read nothing, and whose system buffers little."""
    url = httpx.URL(service.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(PATIENCE)
    client.connect((url.host, url.port or 80))
    client.sendall(
        f"GET {stream(video)} HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n"
        f"Authorization: {viewer.headers['Authorization']}\r\n\r\n".encode()
    )
    return client


def head_of(client: socket.socket) -> tuple[bytes, bytes]:
    """The answer's head, and what of its body has come with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1024)
        assert more, "the connection ended within the head"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def rest_of(client: socket.socket, body: bytes, *, rate: float = 0, seconds: float = PATIENCE) -> bytes:
    """The body until its end; with a `rate` (bytes a second), at that rate for `seconds`, then at full speed."""
    received = bytearray(body)
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(16 * 1024 if rate else 256 * 1024):
            received += more
            elapsed = time.monotonic() - started
            if rate and elapsed > seconds:
                rate = 0
            elif rate:
                time.sleep(max(0.0, len(received) / rate - elapsed))
    return bytes(received)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def slow(service: Service, viewer: Person, video: int, rate: float, seconds: float) -> str:
    """The digest of what a client gets that reads at this rate (bytes a second) for `seconds`, then at full speed."""
    with asking(service, viewer, video) as client:
        return digest(rest_of(client, head_of(client)[1], rate=rate, seconds=seconds))


def paused(service: Service, viewer: Person, video: int, seconds: float) -> str:
    """The same of one that reads nothing for so long."""
    with asking(service, viewer, video) as client:
        body = head_of(client)[1]
        time.sleep(seconds)
        return digest(rest_of(client, body))


def test_slow_and_paused_clients_get_every_byte(acme: Company, service: Service, long: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(slow, service, acme.guest, long, 50_000, 8),
            pool.submit(paused, service, acme.guest, long, 5),
        ]
        assert [answer.result(3 * PATIENCE) for answer in answers] == [digest(LONG)] * 2


def test_a_client_that_stalls_is_cut_and_one_that_is_slow_or_pauses_is_not(tmp_path: Path) -> None:
    with Runner(tmp_path / "local", BCRYPT_COST="4", STREAM_STALL_SECONDS=str(STALL_SECONDS)) as runner:
        service = Service(runner.url, runner.environment)
        with httpx.Client(base_url=service.url, timeout=PATIENCE, trust_env=False) as http:
            company = found_company(http)
            video = company.video(file_path=put(bucket_of(service.environment), company, LONG))
            with ThreadPoolExecutor(2) as pool:
                answers = [
                    # Several limits long. What it reads shows at the function half a MB at a time.
                    pool.submit(slow, service, company.guest, video, 100_000, 2.5 * STALL_SECONDS),
                    pool.submit(paused, service, company.guest, video, 0.7 * STALL_SECONDS),
                ]
                time.sleep(STALL_SECONDS / 4)  # each has its process
                serving = set(workers(service))
                assert [answer.result(3 * PATIENCE) for answer in answers] == [digest(LONG)] * 2
            assert digest(company.guest.get(stream(video)).content) == digest(LONG)
            assert set(workers(service)) == serving  # none has ended, and none was needed in its place
            with asking(service, company.guest, video) as stalled:
                body = head_of(stalled)[1]
                time.sleep(1.5 * STALL_SECONDS)
                cut = rest_of(stalled, body)
            assert len(cut) < len(LONG)
            assert LONG.startswith(cut)
            assert digest(company.guest.get(stream(video)).content) == digest(LONG)


def test_forty_greedy_clients_of_a_user_get_16_streams_and_leave_room_for_another_viewer(
    acme: Company, service: Service, long: int, short: int
) -> None:
    greedy, another = add_member(acme.admin), add_member(acme.admin)
    with contextlib.ExitStack() as clients:
        asked = [clients.enter_context(asking(service, greedy, long)) for _ in range(40)]
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(head_of, asked))
        statuses = [head.split(b" ")[1] for head, _ in answers]
        assert statuses.count(b"200") == STREAMS
        assert statuses.count(b"429") == 40 - STREAMS
        refused = problem(greedy.get(stream(long)), 429, "too-many-streams")
        assert refused["title"]
        assert int(greedy.get(stream(long)).headers["Retry-After"]) > 0
        # What is no larger than a slice holds a function only briefly.
        assert greedy.get(stream(long), headers={"Range": "bytes=0-99"}).content == LONG[:100]
        assert another.get(stream(short)).content == FILM
        assert digest(another.get(stream(long)).content) == digest(LONG)
    until(lambda: greedy.get(stream(long), headers={"Range": f"bytes=0-{7 * MIB}"}).status_code == 206)
    assert digest(greedy.get(stream(long)).content) == digest(LONG)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def test_a_client_that_closes_its_sending_half_gets_every_byte(acme: Company, service: Service, long: int) -> None:
    with asking(service, acme.guest, long, buffer=MIB) as client:
        client.shutdown(socket.SHUT_WR)
        head, body = head_of(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert digest(rest_of(client, body)) == digest(LONG)


def descriptors(service: Service) -> dict[int, int]:
    """How many descriptors the runner and its stream workers have open, by process id."""
    found = {}
    for pid in workers(service):
        parent = int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
        for process in (pid, parent):
            found[process] = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not show a process's descriptors")
def test_fifty_clients_that_vanish_leave_nothing_open(acme: Company, service: Service, long: int, short: int) -> None:
    def vanish(_: object) -> None:
        with asking(service, acme.guest, long) as client:
            head_of(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(vanish, range(8))
        )  # the workers that four at a time take are there, and have opened what they need
        assert acme.guest.get(stream(short)).content == FILM
        until(lambda: acme.guest.get(stream(long), headers={"Range": "bytes=0-"}).status_code == 206)
        before = descriptors(service)
        list(pool.map(vanish, range(50)))

    def settled() -> bool:
        now = descriptors(service)
        # A worker may have its connections to the database and to S3 open at one moment and not at the other.
        return all(now.get(pid, 0) <= count + 2 for pid, count in before.items())

    until(settled)
    assert digest(acme.guest.get(stream(long)).content) == digest(LONG)
