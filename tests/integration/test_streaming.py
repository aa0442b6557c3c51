"""Streamed responses on the wire, from the real awslambdaric: in this process, the installed release, and older ones.

In this process, for coverage, awslambdaric's own handling of an event runs, and only its compiled HTTP client is
replaced.
"""

import base64
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from awslambdaric import lambda_runtime_client

from tests.awslambdaric_releases import INSTALLED, OLDER, STAND_IN, PlainClient, Runtime, ThisProcess, Worker, found
from tests.integration import streaming_handler
from tests.integration.streaming_handler import BLOCK
from tests.recorded_runtime_api import PATIENCE, PREFIX, Post, RuntimeApi
from vms import responses, streaming
from vms.responses import Streamed

MIB = 1024 * 1024
HERE = Path(__file__).parent
DELIMITER = b"\0" * 8
IN_PROCESS = "this process"


@pytest.fixture(scope="module")
def this_process() -> Iterator[ThisProcess]:
    base = lambda_runtime_client.BaseLambdaRuntimeClient
    with RuntimeApi() as api, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lambda_runtime_client, "runtime_client", PlainClient(api.address))
        for name in ("marshaller", "post_invocation_result"):
            patch.setattr(base, name, getattr(base, name))  # to be put back, whatever `install` sets
        streaming.install(stall_seconds=2.0)
        runtime = ThisProcess(api, streaming_handler.handler)
        yield runtime
        for thread in runtime.threads:
            thread.join(PATIENCE)


def start(request: pytest.FixtureRequest, directories: pytest.TempPathFactory) -> Worker:
    release = found(request.param)
    return Worker("streaming_handler.handler", [HERE], directories.mktemp("worker"), release)


@pytest.fixture(scope="module", params=[INSTALLED, STAND_IN, *OLDER])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with start(request, tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module", params=[IN_PROCESS, INSTALLED, STAND_IN, *OLDER])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    if request.param == IN_PROCESS:
        yield request.getfixturevalue("this_process")
        return
    with start(request, tmp_path_factory) as running:
        yield running


def trailers(post: Post) -> tuple[str, dict[str, Any]]:
    """The error's type, and its decoded body."""
    found = post.trailers
    assert set(found) == {"lambda-runtime-function-error-type", "lambda-runtime-function-error-body"}
    body: dict[str, Any] = json.loads(base64.b64decode(found["lambda-runtime-function-error-body"], validate=True))
    assert set(body) == {"errorMessage", "errorType", "stackTrace"}
    return found["lambda-runtime-function-error-type"], body


def appears(path: Path) -> bool:
    """Whether this file is there, or comes before patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return path.exists()


def lives_on(runtime: Runtime) -> bool:
    """Whether the runtime answers the next event."""
    return runtime.invoke({"chunks": ["next"]}).answer().payload == b"next"


def test_the_prelude_comes_first_then_eight_nul_bytes_then_chunk_by_chunk_the_payload(runtime: Runtime) -> None:
    headers = {"Content-Type": "video/mp4", "ETag": '"é"'}
    invocation = runtime.invoke({"status": 206, "headers": [*headers.items()], "chunks": ["one", "two", "three"]})
    post = invocation.answer()
    first, *others = post.chunks
    assert first.endswith(DELIMITER)
    assert json.loads(first.removesuffix(DELIMITER)) == {"statusCode": 206, "headers": headers}
    assert others == [b"one", b"two", b"three"]
    assert post.body.endswith(b"\r\n0\r\n\r\n")
    assert invocation.posts.empty()


def test_the_prelude_holds_nothing_but_the_status_the_headers_and_the_cookies(runtime: Runtime) -> None:
    headers = [["Set-Cookie", "a=1"], ["Vary", "Range"], ["X", "1"], ["Set-Cookie", "b=2; Secure"], ["Vary", "Origin"]]
    assert runtime.invoke({"headers": headers}).answer().prelude == {
        "statusCode": 200,
        "headers": {"X": "1"},
        "multiValueHeaders": {"Vary": ["Range", "Origin"]},
        "cookies": ["a=1", "b=2; Secure"],
    }


def test_a_chunk_leaves_before_the_next_is_made(runtime: Runtime, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    post = runtime.invoke({"chunks": ["first", "second"], "gate": str(gate)}).post()
    post.wait_for(b"5\r\nfirst\r\n")
    assert not post.ended
    gate.touch()
    assert post.whole().payload == b"firstsecond"


def test_the_request_says_that_it_streams(runtime: Runtime) -> None:
    invocation = runtime.invoke({"chunks": ["x"]})
    post = invocation.answer()
    assert post.request_line == f"POST {PREFIX}invocation/{invocation.request_id}/response HTTP/1.1"
    headers = post.headers
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers == {
        "content-type": "application/vnd.awslambda.http-integration-response",
        "lambda-runtime-function-response-mode": "streaming",
        "transfer-encoding": "chunked",
        "trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        "connection": "close",
    }


def test_an_invocation_id_is_echoed_where_the_runtime_tells_it(this_process: ThisProcess, worker: Worker) -> None:
    here = this_process.invoke({"chunks": ["x"]}, invocation_id="an-id").answer()
    assert here.headers["lambda-runtime-invocation-id"] == "an-id"
    there = worker.invoke({"chunks": ["x"]}, invocation_id="an-id").answer()
    # The older ones are all from before 4.0.2, which was the first to tell.
    told = worker.release is None or worker.release.name == "stand_in"
    assert there.headers.get("lambda-runtime-invocation-id") == ("an-id" if told else None)


def test_a_chunk_of_no_bytes_is_never_sent_before_the_end(runtime: Runtime) -> None:
    post = runtime.invoke({"chunks": ["", "a", "", "", "b", ""]}).answer()
    assert post.chunks[1:] == [b"a", b"b"]
    assert post.body.count(b"\r\n0\r\n") == 1


def test_an_empty_body_says_that_it_has_no_bytes(runtime: Runtime) -> None:
    post = runtime.invoke({"headers": [["Content-Length", "0"]], "chunks": ["", ""]}).answer()
    assert post.prelude["headers"] == {"Content-Length": "0"}
    assert post.payload == b""
    assert len(post.chunks) == 1


def test_an_answer_to_head_has_the_headers_and_no_body(runtime: Runtime) -> None:
    post = runtime.invoke({"headers": [["Content-Length", "5000"]]}).answer()
    assert (post.prelude["headers"], post.payload) == ({"Content-Length": "5000"}, b"")
    refused = runtime.invoke({"problem": "HEAD"}).answer()
    assert (refused.prelude["statusCode"], refused.payload) == (416, b"")
    assert int(refused.prelude["headers"]["Content-Length"]) > 0  # that of GET
    assert refused.prelude["headers"]["Content-Range"] == "bytes */5"


def test_a_problem_is_streamed_too(runtime: Runtime) -> None:
    invocation = runtime.invoke({"problem": "GET"})
    post = invocation.answer()
    document = json.loads(post.payload)
    assert (document["status"], document["detail"], document["instance"]) == (409, "taken", invocation.request_id)
    assert post.prelude == {
        "statusCode": 409,
        "headers": {"Content-Type": "application/problem+json", "Content-Length": str(len(post.payload))},
    }


def test_an_error_before_the_first_byte_is_posted_as_one(runtime: Runtime, tmp_path: Path) -> None:
    invocation = runtime.invoke({"fails": "at once", "closed": str(tmp_path / "closed")})
    post = invocation.answer()
    assert post.path == f"{PREFIX}invocation/{invocation.request_id}/error"
    error = json.loads(post.body)
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "at once")
    assert (tmp_path / "closed").exists()
    assert invocation.posts.empty()
    assert lives_on(runtime)


def test_an_error_in_the_middle_is_told_in_the_trailers(runtime: Runtime, tmp_path: Path) -> None:
    event = {"chunks": ["one", "two"], "fails": "in the middle: \u00e9\r\n", "closed": str(tmp_path / "closed")}
    invocation = runtime.invoke(event)
    post = invocation.answer()
    assert post.payload == b"onetwo"
    kind, body = trailers(post)
    assert kind == "ValueError"
    assert body == {"errorMessage": event["fails"], "errorType": "ValueError", "stackTrace": []}
    assert appears(tmp_path / "closed")
    assert lives_on(runtime)
    assert invocation.posts.empty()


def test_when_the_reader_resets_the_connection_the_source_is_closed_and_the_next_event_served(
    runtime: Runtime, tmp_path: Path
) -> None:
    event = {"blocks": 1_000_000, "closed": str(tmp_path / "closed")}
    assert not runtime.invoke(event, reset_after=2 * MIB).answer().body.endswith(b"\r\n0\r\n\r\n")
    assert appears(tmp_path / "closed")
    assert lives_on(runtime)


def test_a_response_that_nobody_reads_is_closed(runtime: Runtime, tmp_path: Path) -> None:
    event = {"blocks": 1_000_000, "closed": str(tmp_path / "closed")}
    runtime.invoke(event, reset_after=0).answer()
    assert appears(tmp_path / "closed")
    assert lives_on(runtime)


def test_a_stream_that_the_deadline_would_cut_off_ends_before_it_as_a_failure(runtime: Runtime, tmp_path: Path) -> None:
    event = {"chunks": ["begun"], "blocks": 1_000_000, "pause": 0.01, "closed": str(tmp_path / "closed")}
    post = runtime.invoke(event, seconds=0.8).answer()
    assert post.payload.startswith(b"begun")
    kind, body = trailers(post)
    assert kind == "DeadlineError"
    assert body["errorMessage"] == "the function's time is up"
    assert appears(tmp_path / "closed")
    assert lives_on(runtime)


def test_a_stream_that_is_whole_when_its_time_is_up_is_no_failure(runtime: Runtime) -> None:
    post = runtime.invoke({"chunks": ["whole"], "seconds": 0}).answer()
    assert (post.payload, post.trailers) == (b"whole", {})


def test_headers_that_do_not_fit_are_an_error_and_the_runtime_lives_on(runtime: Runtime, tmp_path: Path) -> None:
    event = {"chunks": ["x"], "closed": str(tmp_path / "closed")}
    invocation = runtime.invoke({**event, "headers": [["X-Long", "x" * 16 * 1024]]})
    post = invocation.answer()
    assert post.path.endswith(f"{invocation.request_id}/error")
    assert "headers have" in json.loads(post.body)["errorMessage"]
    assert (tmp_path / "closed").exists()
    assert lives_on(runtime)


def test_the_longest_headers_that_fit_arrive_within_16_kib(runtime: Runtime) -> None:
    room = 16 * 1024 - len(DELIMITER) - len('{"statusCode":200,"headers":{"X":""}}')
    post = runtime.invoke({"headers": [["X", "x" * room]], "chunks": ["body"]}).answer()
    assert b"".join(post.chunks).index(DELIMITER) == 16 * 1024 - len(DELIMITER)
    assert post.payload == b"body"
    assert runtime.invoke({"headers": [["X", "x" * (room + 1)]]}).answer().path.endswith("/error")


def test_a_result_that_is_not_streamed_goes_the_usual_way(runtime: Runtime) -> None:
    for value in ({"statusCode": 200, "body": "hello"}, None, "é"):
        invocation = runtime.invoke({"plain": value})
        post = invocation.answer()
        assert post.path == f"{PREFIX}invocation/{invocation.request_id}/response"
        assert json.loads(post.body) == value
        assert post.headers["content-type"] == "application/json"
        assert not {"transfer-encoding", "lambda-runtime-function-response-mode", "trailer"} & set(post.headers)


def test_an_error_at_init_is_reported_as_ever(worker: Worker, tmp_path: Path) -> None:
    with Worker("broken_handler.handler", [HERE], tmp_path, worker.release) as broken:
        error = json.loads(broken.api.init_errors.get(timeout=PATIENCE).whole().body)
        assert (error["errorType"], error["errorMessage"]) == ("ValueError", "at init")
        assert broken.process.wait(PATIENCE) == 1


def memory(pid: int, name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak memory")
def test_a_process_that_streams_256_mib_grows_by_less_than_16_mib(worker: Worker) -> None:
    assert lives_on(worker)
    before = memory(worker.process.pid, "VmRSS")
    post = worker.invoke({"blocks": 256 * MIB // len(BLOCK)}, keep=False).answer()
    assert post.size > 256 * MIB
    assert memory(worker.process.pid, "VmHWM") - before < 16 * MIB


def test_the_deadline_ends_a_stream_half_a_second_early(
    this_process: ThisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    def chunks() -> Iterator[bytes]:
        while True:
            now[0] += 0.25
            yield b"x"

    for module in (responses, streaming):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(streaming_handler, "Source", lambda _: chunks())
    post = this_process.invoke({"seconds": 3}).answer()
    assert trailers(post)[0] == "DeadlineError"
    assert now[0] == 102.75
    assert post.payload == b"x" * 10  # up to 2.5 seconds


def test_the_next_event_is_asked_for_only_when_the_platform_has_let_go_of_the_stream(worker: Worker) -> None:
    let_go = threading.Event()
    invocation = worker.invoke({"chunks": ["x"]}, acknowledge=let_go)
    invocation.post().wait_for(b"\r\n0\r\n\r\n")
    following = worker.invoke({"chunks": ["next"]})
    with pytest.raises(queue.Empty):
        following.posts.get(timeout=0.5)
    let_go.set()
    assert following.answer().payload == b"next"


def test_an_acknowledgement_is_waited_for_until_the_deadline() -> None:
    sender, receiver = socket.socketpair()
    with sender, receiver:
        receiver.sendall(b"HTTP/1.1 202 Accepted\r\n\r\n")
        streaming._wait_for_acknowledgement(sender, time.monotonic() + 600)
        assert (sender.gettimeout() or 0) > 500


def test_a_stream_that_is_never_acknowledged_is_let_go_at_the_deadline(
    this_process: ThisProcess, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    event = {"chunks": ["x"], "seconds": 0.8, "closed": str(tmp_path / "closed")}
    invocation = this_process.invoke(event, acknowledge=threading.Event())
    assert invocation.answer().payload == b"x"
    this_process.threads[-1].join(PATIENCE)
    assert "did not acknowledge" in caplog.text
    assert (tmp_path / "closed").exists()


def test_a_stream_that_nobody_reads_is_cut_and_the_next_event_served(runtime: Runtime, tmp_path: Path) -> None:
    event = {"blocks": 1_000_000, "closed": str(tmp_path / "closed")}
    post = runtime.invoke(event, stall_after=MIB).answer()
    assert not post.body.endswith(b"\r\n0\r\n\r\n")
    assert appears(tmp_path / "closed")
    assert lives_on(runtime)


def test_without_a_runtime_api_the_source_is_closed(this_process: ThisProcess) -> None:
    with RuntimeApi() as gone:
        address = gone.address
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            closed.append(True)

    response = Streamed(200, [], chunks())
    client = lambda_runtime_client.LambdaRuntimeClient(address)
    client.post_invocation_result("id", *client.marshaller.marshal_response(response))
    assert closed == [True]


def test_a_chunk_of_which_the_system_took_a_part_is_sent_on_to_its_end() -> None:
    sender, receiver = socket.socketpair()
    chunk = BLOCK * 32
    received = bytearray()

    def receive() -> None:
        while more := receiver.recv(MIB):
            received.extend(more)

    thread = threading.Thread(target=receive)
    with receiver:
        with sender:
            thread.start()
            streaming._send(sender, (b"head", b"", chunk, b"\r\n"), PATIENCE, time.monotonic() + PATIENCE)
        thread.join(PATIENCE)
    assert bytes(received) == b"head" + chunk + b"\r\n"
