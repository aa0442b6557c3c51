"""Faults of S3: the client gets every byte or notices; an answer that failed before its first byte grants nothing."""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.clients import Company, Person, add_member, expect, problem
from tests.e2e.films import put
from tests.fault_proxy import Fault, FaultProxy, refusal
from tests.runner import template_served
from tests.service import Service, Services, forget
from vms import storage
from vms.paths import object_key

pytestmark = [pytest.mark.usefixtures("environment"), pytest.mark.transports("over_http", "in_process")]

ROOT = Path(__file__).parents[2]

MIB = 1024 * 1024
# What looks into the function or changes its settings.
in_process = pytest.mark.transports("in_process")
# Short, so that the tests are; long enough for a busy machine.
TIME_OUTS = {
    "S3_CONNECT_TIMEOUT_SECONDS": "1.5",
    "S3_FIRST_BYTE_TIMEOUT_SECONDS": "1.5",
    "S3_IDLE_TIMEOUT_SECONDS": "1.5",
}
# What a broken stream looks like, in this process and over HTTP.
# Bytes after which an answer of S3 has not begun its body.
WITHIN_THE_HEAD = 100
BROKEN = (storage.Broken, httpx.RemoteProtocolError)
BODY = os.urandom(3 * MIB)


@pytest.fixture
def viewer(acme: Company) -> Person:
    return add_member(acme.admin)


@pytest.fixture
def path(acme: Company, services: Services) -> str:
    return put(services.storage, acme, BODY, kind="")


@pytest.fixture
def key(acme: Company, path: str) -> str:
    return object_key(acme.id, path)


@pytest.fixture
def video(acme: Company, path: str) -> int:
    return acme.video(file_path=path)


@pytest.fixture(scope="module")
def between(services: Services) -> Iterator[FaultProxy]:
    """One proxy for all tests: the workers know its address from their start."""
    parts = urlsplit(services.storage.endpoint)
    made = FaultProxy((str(parts.hostname), int(parts.port or 80)))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def over_http(
    services: Services, between: FaultProxy, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The template as the local runner serves it, with the proxy before S3."""
    workers = {
        name: value for name, value in environment.items() if name.startswith(("AWS_REGION", "AWS_ACC", "AWS_SEC"))
    }
    settings = {
        **environment,
        "DATABASE_IAM_AUTH": "false",
        "STREAM_MAX_BYTES": "0",
        "AWS_ENDPOINT_URL_S3": between.url,
    }
    log = tmp_path_factory.mktemp("served") / "log"
    with template_served(ROOT, log, workers, **settings, **TIME_OUTS) as ports:
        yield Service(f"http://127.0.0.1:{ports['port']}", settings)


@pytest.fixture
def proxy(transport: str, between: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands between the function and S3."""
    between.reset()
    if transport == "over_http":
        yield between
        return
    for name, value in {"AWS_ENDPOINT_URL_S3": between.url, **TIME_OUTS}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "RETRY_AFTER", (0.01, 0.02))
    storage.close()
    forget()
    yield between
    storage.close()
    monkeypatch.undo()
    forget()


def stream(viewer: Person, video: int, **headers: str) -> httpx.Response:
    return viewer.get(f"/v1/videos/stream/{video}", headers=headers)


def granted(viewer: Person, video: int) -> bool:
    """Whether the view counted; the log and the points must agree on it."""
    point = viewer.me()["point"]
    logged = expect(viewer.get(f"/v1/view-logs/{viewer.id}/{video}"), 200)
    assert (point, logged) in {(0, False), (10, True)}
    return bool(logged)


def replace(services: Services, key: str, body: bytes) -> Callable[[], object]:
    def put() -> None:
        assert services.storage.request("PUT", key, body).status == 200

    return put


@pytest.mark.parametrize("kind", ["close", "reset", "stall"])
def test_a_body_that_breaks_is_taken_up_where_it_broke(
    viewer: Person, video: int, proxy: FaultProxy, kind: str
) -> None:
    proxy.faults.extend(Fault(kind, after=after) for after in (MIB, MIB // 2, 700))  # type: ignore[arg-type]
    answer = stream(viewer, video)
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(BODY).digest()
    assert proxy.connections == 4
    assert granted(viewer, video)


def test_a_broken_slice_is_resumed_within_its_bounds(viewer: Person, video: int, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault("close", after=100_000))
    answer = stream(viewer, video, Range="bytes=1000-999999")
    assert answer.status_code == 206
    assert answer.content == BODY[1000:1_000_000]


def test_a_body_may_break_any_number_of_times_while_bytes_come_in_between(
    viewer: Person, video: int, proxy: FaultProxy
) -> None:
    breaks = 3 * storage.RESUMES
    proxy.faults.extend(Fault("close", after=len(BODY) // (2 * breaks)) for _ in range(breaks))
    assert stream(viewer, video).content == BODY
    assert proxy.connections == 1 + breaks


def test_a_body_that_breaks_too_often_ends_as_a_failure(viewer: Person, video: int, proxy: FaultProxy) -> None:
    proxy.faults.extend(Fault("close", after=after) for after in (MIB // 4, *[WITHIN_THE_HEAD] * storage.RESUMES))
    with pytest.raises(BROKEN):
        stream(viewer, video)
    assert proxy.connections == 1 + storage.RESUMES
    assert granted(viewer, video)  # its first bytes had come


@in_process
def test_where_the_answer_must_be_whole_a_body_that_breaks_too_often_is_502_and_grants_nothing(
    viewer: Person, video: int, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_MODE", "buffered")
    forget()
    proxy.faults.extend(Fault("close", after=after) for after in (MIB // 4, *[WITHIN_THE_HEAD] * storage.RESUMES))
    problem(stream(viewer, video), 502, "storage-failed")
    assert not granted(viewer, video)
    assert stream(viewer, video).content == BODY
    assert granted(viewer, video)


def test_an_object_replaced_in_the_middle_ends_the_stream_as_a_failure(
    viewer: Person, video: int, key: str, proxy: FaultProxy, services: Services
) -> None:
    proxy.faults.append(Fault("close", after=MIB, meanwhile=replace(services, key, os.urandom(len(BODY)))))
    with pytest.raises(BROKEN):
        stream(viewer, video)


def test_an_object_deleted_in_the_middle_ends_the_stream_as_a_failure(
    viewer: Person, video: int, key: str, proxy: FaultProxy, services: Services
) -> None:
    proxy.faults.append(Fault("close", after=MIB, meanwhile=lambda: services.storage.request("DELETE", key)))
    with pytest.raises(BROKEN):
        stream(viewer, video)


def test_while_resuming_refusals_and_lost_connections_are_tried_again(
    viewer: Person, video: int, proxy: FaultProxy
) -> None:
    proxy.faults.extend([Fault("close", after=MIB), refusal("503 Slow Down"), Fault("reset")])
    answer = stream(viewer, video)
    assert answer.content == BODY


@pytest.mark.parametrize(
    "faults",
    [
        [refusal("503 Slow Down"), refusal("500 Internal Server Error")],
        [Fault("reset"), Fault("close")],
    ],
)
def test_what_passes_before_the_first_byte_is_asked_again(
    viewer: Person, video: int, proxy: FaultProxy, faults: list[Fault]
) -> None:
    proxy.faults.extend(faults)
    answer = stream(viewer, video)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert granted(viewer, video)


@pytest.mark.parametrize(
    "faults",
    [
        [refusal("503 Slow Down")] * 3,
        [Fault("reset")] * 3,
        [Fault("stall")],
        [refusal("403 Forbidden")],
        [
            Fault(
                "answer",
                answer=b'HTTP/1.1 206 Partial Content\r\nETag: "x"\r\nContent-Range: what\r\n\r\nhello',
            )
        ],
        [Fault("answer", answer=b"not HTTP at all\r\n\r\n")] * 3,
        [Fault("close", after=0)] * 3,
    ],
)
def test_a_failure_before_the_first_byte_is_502_and_grants_nothing(
    viewer: Person, video: int, proxy: FaultProxy, faults: list[Fault]
) -> None:
    for headers in ({}, {"Range": "bytes=0-"}):
        proxy.faults.extend(faults)
        problem(stream(viewer, video, **headers), 502, "storage-failed")
        assert not proxy.faults
        storage.close()
    assert not granted(viewer, video)


def test_a_body_without_its_first_byte_is_502_and_grants_nothing(viewer: Person, video: int, proxy: FaultProxy) -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\n\r\n'
    proxy.faults.append(Fault("answer", answer=head))
    problem(stream(viewer, video), 502, "storage-failed")
    assert not granted(viewer, video)


def test_nothing_hangs_longer_than_its_time_outs(viewer: Person, video: int, proxy: FaultProxy) -> None:
    proxy.faults.append(Fault("stall"))
    started = time.monotonic()
    problem(stream(viewer, video), 502, "storage-failed")
    assert time.monotonic() - started < 20  # 1.5 s are configured; a hang would last for ever


@in_process
def test_a_connection_that_was_closed_between_two_requests_is_replaced(
    viewer: Person, video: int, proxy: FaultProxy
) -> None:
    assert stream(viewer, video, Range="bytes=0-9").content == BODY[:10]
    connection = storage._connection
    assert connection is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    assert stream(viewer, video, Range="bytes=0-9").content == BODY[:10]
    assert proxy.connections == 2


@in_process
def test_one_connection_serves_many_requests(viewer: Person, video: int, proxy: FaultProxy) -> None:
    for start in range(5):
        assert stream(viewer, video, Range=f"bytes={start}-9").content == BODY[start:10]
    assert proxy.connections == 1


@in_process
def test_a_reader_that_leaves_closes_the_connection_to_s3(key: str, proxy: FaultProxy) -> None:
    chunks = storage.get(key).chunks()
    assert next(chunks)
    chunks.close()
    assert storage._connection is None


@in_process
def test_an_answer_that_nobody_reads_is_let_go(key: str, proxy: FaultProxy) -> None:
    storage.get(key).close()
    assert storage._connection is None
    assert storage.head(key).found.size == len(BODY)
    assert proxy.connections == 2


def test_a_server_that_closes_after_its_answer_is_connected_to_again(
    viewer: Person, video: int, proxy: FaultProxy
) -> None:
    head = b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nConnection: close\r\nETag: "x"\r\n\r\nhello'
    proxy.faults.append(Fault("answer", answer=head))
    assert stream(viewer, video, Range="bytes=0-4").content == b"hello"
    assert stream(viewer, video, Range="bytes=0-4").content == BODY[:5]
    assert proxy.connections == 2


def test_bytes_beyond_what_the_server_promised_are_not_passed_on(viewer: Person, video: int, proxy: FaultProxy) -> None:
    head = b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 9\r\nETag: "x"\r\n\r\n'
    proxy.faults.append(Fault("answer", answer=head + b"hello you"))
    assert stream(viewer, video, Range="bytes=0-4").content == b"hello"
    assert stream(viewer, video, Range="bytes=0-4").content == BODY[:5]
    assert proxy.connections == 2
