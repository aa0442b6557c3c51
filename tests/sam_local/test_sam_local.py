"""The end-to-end suite over `sam local start-api`: `make test-sam-local`, where Docker is."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.elsewhere import assert_suite_passes
from tests.environment import of_installer
from tests.runner import free_port, read_environment, stop

ROOT = Path(__file__).parents[2]
# What sam local does not do as API Gateway does.
NOT_AS_API_GATEWAY = {
    f"tests/e2e/{test}": reason
    for test, reason in {
        "test_service.py::test_an_unknown_path_or_method_is_404": "answers 403, and makes no gateway responses",
        "test_http_files.py::test_the_requests_of_a_file_are_answered_as_it_says[over_http-service]": "answers 403",
        "test_corporations.py::test_bodies_that_are_no_json_object[over_http]": "fails on a body that is not UTF-8",
        "test_corporations.py::test_any_name_works_in_a_path[over_http-slash]": "decodes %2F before it matches",
    }.items()
}


@pytest.fixture
def variables(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `python -m ops.sam_local` says of itself, once it serves."""
    if not pytestconfig.getoption("--sam-local"):
        pytest.skip("`make test-sam-local` runs the end-to-end suite over sam local, in Docker")
    port = free_port()
    settings = of_installer(PORT=str(port), LOCAL_DIR=str(tmp_path / "local"), BCRYPT_COST="4")
    log = tmp_path / "sam.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.sam_local"], cwd=ROOT, env=settings, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 600
        while not answers(port):
            assert process.poll() is None, log.read_text("utf-8", "replace")[-4000:]
            assert time.monotonic() < deadline, log.read_text("utf-8", "replace")[-4000:]
            time.sleep(1)
        yield read_environment(tmp_path / "local" / "env")
    finally:
        stop(process)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=120).status_code == 200
    except httpx.TransportError:
        return False


def test_the_end_to_end_suite_passes_over_sam_local(
    variables: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_suite_passes(variables["API_URL"], variables, tmp_path, NOT_AS_API_GATEWAY, capsys)
