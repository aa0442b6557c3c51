"""Faults of S3 once more, seen by an HTTP client of the template as the local runner serves it, with the fault proxy before S3."""

# ruff: noqa: F401 - the very tests and fixtures of test_storage, collected a second time with another `http` and another `proxy`
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.fault_proxy import FaultProxy
from tests.integration.conftest import Services
from tests.integration.test_storage import (
    TIME_OUTS,
    key,
    test_a_body_that_breaks_is_taken_up_where_it_broke,
    test_a_body_that_breaks_too_often_ends_as_a_failure,
    test_a_body_without_its_first_byte_is_502_and_grants_nothing,
    test_a_broken_slice_is_resumed_within_its_bounds,
    test_a_failure_before_the_first_byte_is_502_and_grants_nothing,
    test_a_server_that_closes_after_its_answer_is_connected_to_again,
    test_an_object_deleted_in_the_middle_ends_the_stream_as_a_failure,
    test_an_object_replaced_in_the_middle_ends_the_stream_as_a_failure,
    test_bytes_beyond_what_the_server_promised_are_not_passed_on,
    test_nothing_hangs_longer_than_its_time_outs,
    test_what_passes_before_the_first_byte_is_asked_again,
    test_while_resuming_refusals_and_lost_connections_are_tried_again,
    video,
    viewer,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def between(services: Services) -> Iterator[FaultProxy]:
    """One proxy for all tests: the workers know its address from their start."""
    parts = urlsplit(services.storage.endpoint)
    made = FaultProxy((str(parts.hostname), int(parts.port or 80)))
    yield made
    made.stop()


@pytest.fixture
def proxy(between: FaultProxy) -> FaultProxy:
    between.reset()
    return between


@pytest.fixture(scope="module")
def http(services: Services, between: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    s3 = services.storage
    settings = {
        "DATABASE_URL": services.database.url,
        "DATABASE_IAM_AUTH": "false",
        "JWT_KEYS": json.dumps({"current": "test", "test": "t" * 40}),
        "VIDEO_BUCKET": s3.bucket,
        "AWS_ENDPOINT_URL_S3": between.url,
        "BCRYPT_COST": "4",
        "STREAM_MAX_BYTES": "0",
        **TIME_OUTS,
    }
    keys = {"AWS_REGION": s3.region, "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve_template.py")), str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **settings, "WORKERS": json.dumps(keys), "PYTHONPATH": str(ROOT)},
        )
    assert process.stdin is not None
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port_of(process, log)}", timeout=60, trust_env=False) as client:
            yield client
    finally:
        process.stdin.close()
        process.wait(30)


def port_of(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """The port that the server prints once it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text("utf-8").splitlines():
            if line.startswith('{"port"'):
                return int(json.loads(line)["port"])
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8"))
