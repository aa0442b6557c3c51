"""The suite runs against API_URL, or starts the local runner for itself."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import Company, found_company

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Service:
    """A running service: its URL, and what the runner says of its servers (empty for a service elsewhere)."""

    url: str
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_environment(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines() if "=" in line)


def start_runner(directory: Path, port: int, **settings: str) -> subprocess.Popen[bytes]:
    """Start `python -m local run` and wait until it has written its env file. Its output goes to runner.log."""
    environment = {**os.environ, "PORT": str(port), "LOCAL_DIR": str(directory), **settings}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "runner.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "run"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 120
    while not (directory / "env").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the runner did not start:\n{(directory / 'runner.log').read_text('utf-8')[-4000:]}")
        time.sleep(0.05)
    return process


def stop_runner(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if url := os.environ.get("API_URL"):
        yield Service(url.rstrip("/"), dict(os.environ))
        return
    directory = tmp_path_factory.mktemp("runner")
    process = start_runner(directory, free_port(), BCRYPT_COST="4")
    try:
        environment = read_environment(directory / "env")
        yield Service(environment["API_URL"].rstrip("/"), environment)
    finally:
        stop_runner(process)


@pytest.fixture(scope="session")
def http(service: Service) -> Iterator[httpx.Client]:
    # Where a whole answer is buffered, API Gateway sends bytes as bytes only to a client that accepts such a type before others.
    buffered = service.environment.get("STREAM_MODE") == "buffered"
    headers = {"Accept": "video/mp4"} if buffered else {}
    with httpx.Client(base_url=service.url, headers=headers, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def acme(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture(scope="session")
def rival(http: httpx.Client) -> Company:
    return found_company(http)
