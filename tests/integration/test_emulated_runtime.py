"""The stream function under AWS's own emulator of the runtime, as `sam local` runs it: each answer is whole."""

import base64
import http.client
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.clients import Company, Person, add_member
from tests.e2e.films import put
from tests.environment import of_child
from tests.in_process import event
from tests.runner import free_port, stop
from tests.service import Services

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
SLICE = 4 * MIB
INVOKE = "/2015-03-31/functions/function/invocations"
START_SECONDS = 60.0
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def emulator() -> Path:
    """The program within aws-sam-cli; the test is skipped where it cannot run."""
    if sys.platform != "linux" or platform.machine().lower() not in MACHINES:
        pytest.skip(f"the emulator of the runtime is a program for Linux, not for {sys.platform} {platform.machine()}")
    package = importlib.util.find_spec("samcli.local")
    assert package is not None
    assert package.submodule_search_locations is not None
    name = f"aws-lambda-rie-{MACHINES[platform.machine().lower()]}"
    return Path(package.submodule_search_locations[0]) / "rapid" / name


@pytest.fixture(scope="module")
def port(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the emulator answers, with the function in it."""
    program, ports = emulator(), (free_port(), free_port())
    log = tmp_path_factory.mktemp("emulator") / "log"
    path = os.pathsep.join(str(ROOT / entry) for entry in ("functions/stream", "layers/vms"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                "--runtime-interface-emulator-address",
                f"127.0.0.1:{ports[0]}",
                "--runtime-api-address",
                f"127.0.0.1:{ports[1]}",
                sys.executable,
                "-m",
                "awslambdaric",
                "app.lambda_handler",
            ],
            cwd=ROOT / "functions" / "stream",
            env=of_child(**environment, PYTHONPATH=path, AWS_SAM_LOCAL="true"),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(ports[0]):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.02)
        yield ports[0]
    finally:
        stop(process)  # it ends the function's process, too


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def viewer(acme: Company) -> Person:
    return add_member(acme.admin)


def video(acme: Company, services: Services, body: bytes) -> int:
    return acme.video(file_path=put(services.storage, acme, body))


def ask(port: int, viewer: Person, video_id: int, method: str = "GET", **headers: str) -> tuple[dict[str, Any], bytes]:
    """The proxy answer, checked for being one, and its body's bytes."""
    request = httpx.Request(
        method, f"http://localhost/v1/videos/stream/{video_id}", headers={**viewer.headers, **headers}
    )
    payload = json.dumps(event(request))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", INVOKE, payload)
    text = connection.getresponse().read()
    connection.close()
    assert len(text) <= 6_291_556
    answer: dict[str, Any] = json.loads(text)
    assert set(answer) == {"statusCode", "multiValueHeaders", "body", "isBase64Encoded"}
    assert isinstance(answer["statusCode"], int)
    assert all(isinstance(value, str) for values in answer["multiValueHeaders"].values() for value in values)
    if answer["isBase64Encoded"]:
        return answer, base64.b64decode(answer["body"], validate=True)
    return answer, answer["body"].encode()


def test_a_file_as_large_as_a_slice_is_answered_whole_byte_by_byte(
    port: int, acme: Company, services: Services, viewer: Person
) -> None:
    film = os.urandom(SLICE)
    answer, body = ask(port, viewer, video(acme, services, film))
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    assert body == film
    assert answer["multiValueHeaders"]["Content-Length"] == [str(SLICE)]
    assert answer["multiValueHeaders"]["Content-Type"] == ["video/mp4"]
    assert viewer.me()["point"] == 10


def test_a_larger_file_is_413_without_a_range_and_comes_in_slices_with_one(
    port: int, acme: Company, services: Services, viewer: Person
) -> None:
    film = os.urandom(SLICE + 1)
    film_id = video(acme, services, film)
    answer, body = ask(port, viewer, film_id)
    problem = json.loads(body)
    assert (answer["statusCode"], problem["status"], problem["type"]) == (413, 413, "urn:vms:error:too-large")
    assert "Range" in problem["detail"]
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/problem+json"]
    assert viewer.me()["point"] == 0
    parts = []
    for start in (0, SLICE):
        answer, body = ask(port, viewer, film_id, Range=f"bytes={start}-")
        assert answer["statusCode"] == 206
        last = start + len(body) - 1
        assert answer["multiValueHeaders"]["Content-Range"] == [f"bytes {start}-{last}/{len(film)}"]
        parts.append(body)
    assert b"".join(parts) == film
    assert viewer.me()["point"] == 10


def test_head_conditions_and_errors_are_whole_answers_too(
    port: int, acme: Company, services: Services, viewer: Person
) -> None:
    film_id = video(acme, services, b"film")
    answer, body = ask(port, viewer, film_id, "HEAD")
    assert (answer["statusCode"], answer["multiValueHeaders"]["Content-Length"], body) == (200, ["4"], b"")
    etag = answer["multiValueHeaders"]["ETag"][0]
    answer, body = ask(port, viewer, film_id, **{"If-None-Match": etag})
    assert (answer["statusCode"], body) == (304, b"")
    answer, body = ask(port, viewer, film_id, Range="bytes=4-")
    assert (answer["statusCode"], answer["multiValueHeaders"]["Content-Range"]) == (416, ["bytes */4"])
    answer, body = ask(port, viewer, acme.video(file_path="emulated/not-there.mp4"))
    assert (answer["statusCode"], json.loads(body)["type"]) == (404, "urn:vms:error:file-missing")
    answer, body = ask(port, viewer, film_id, Authorization="Bearer x")
    assert (answer["statusCode"], answer["multiValueHeaders"]["WWW-Authenticate"]) == (401, ["Bearer"])
    assert viewer.me()["point"] == 0
