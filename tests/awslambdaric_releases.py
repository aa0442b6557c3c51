"""Runs handlers under the real awslambdaric, Lambda's runtime client for Python: the installed and older releases.

In this process, or in one of its own. `python -m tests.awslambdaric_releases` fetches the older ones, as
tests/awslambdaric/ pins them.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
from awslambdaric import bootstrap, lambda_runtime_client

from tests.environment import of_child, of_installer
from tests.recorded_runtime_api import PREFIX, Invocation, RuntimeApi

ROOT = Path(__file__).parents[1]
INSTALLED = "installed"
# The installed release on the pure Python client that the local runner brings along for systems without a compiled one.
STAND_IN = "stand-in"
# The newest release before each change of the client's methods. No release of 2 was built for Python 3.13, and its
# source needs the autotools: there its Python code runs on the compiled HTTP client of 3.1.1, whose source differs in
# passing on one more header (the tenant's id) alone.
OLDER = ("4.0.1", "3.1.1", "2.2.1")
_CLIENT_OF = {"2.2.1": "3.1.1"}
_LAST_PYTHON = {"2.2.1": (3, 12)}
_PINS = ROOT / "tests" / "awslambdaric"


DIRECTORY = Path(sys.prefix) / "share" / "awslambdaric"


def fetch(release: str) -> Path:
    """Install this release where the tests look for it, unless it is there; returns its directory.

    Raises:
        subprocess.CalledProcessError: there is no network, or no wheel for this machine; pip has said so.
    """
    directory = directory_of(release)
    if directory.exists():
        return directory
    python = min(sys.version_info[:2], _LAST_PYTHON.get(release, sys.version_info[:2]))
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as scratch:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--python-version", f"{python[0]}.{python[1]}"]
        command += ["--target", f"{scratch}/new", "--require-hashes", "-r", str(_PINS / f"{release}.txt")]
        subprocess.run(command, env=of_installer(), timeout=120, check=True)
        if python != sys.version_info[:2]:
            for compiled in fetch(_CLIENT_OF[release]).glob("runtime_client*"):
                shutil.copy(compiled, f"{scratch}/new")
        Path(scratch, "new").rename(directory)
    return directory


def directory_of(release: str) -> Path:
    """Where a release lies, or would."""
    if release == STAND_IN:
        return ROOT / "local" / "stand_in"
    return DIRECTORY / f"{release}-cp{sys.version_info.major}{sys.version_info.minor}"


class Runtime(Protocol):
    """Where the handler runs."""

    def invoke(self, event: object, **more: Any) -> Invocation:
        """Give it an event."""


class Worker:
    """A process of awslambdaric that runs `handler` (`module.function`), as Lambda starts one."""

    def __init__(self, handler: str, path: list[Path], directory: Path, release: Path | None = None) -> None:
        self.api = RuntimeApi()
        self.release = release
        python_path = [*([release] if release else []), *path, ROOT / "layers" / "vms"]
        environment = of_child(
            PYTHONPATH=os.pathsep.join(str(entry) for entry in python_path),
            AWS_LAMBDA_RUNTIME_API=self.api.address,
            AWS_LAMBDA_LOG_FORMAT="JSON",
            AWS_LAMBDA_LOG_LEVEL="INFO",
            AWS_LAMBDA_FUNCTION_NAME="test",
        )
        self.log = directory / "log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "awslambdaric", handler]
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.api.__exit__()

    def invoke(self, event: object, **more: object) -> Invocation:
        assert self.process.poll() is None, f"the worker has ended:\n{self.log.read_text('utf-8')[-2000:]}"
        return self.api.invoke(event, **more)


class PlainClient:
    """Posts as awslambdaric's compiled client does, which reads its address once for the whole process."""

    def __init__(self, address: str) -> None:
        self.address = address

    def post_invocation_result(self, request_id: str, result: bytes, content_type: str, *_: object) -> None:
        self._post(f"{request_id}/response", result, content_type)

    def post_error(self, request_id: str, error: str, *_: object) -> None:
        self._post(f"{request_id}/error", error.encode(), "application/json")

    def _post(self, path: str, body: bytes, content_type: str) -> None:
        connection = http.client.HTTPConnection(self.address)
        connection.request("POST", f"{PREFIX}invocation/{path}", body, {"Content-Type": content_type})
        assert connection.getresponse().read()
        connection.close()


class ThisProcess:
    """Handles each event in a thread of its own, by awslambdaric's code for one event."""

    def __init__(self, api: RuntimeApi, handler: Callable[[dict[str, Any], Any], object]) -> None:
        self.api = api
        self.handler = handler
        self.client = lambda_runtime_client.LambdaRuntimeClient(api.address)
        self.threads: list[threading.Thread] = []

    def invoke(self, event: object, **more: Any) -> Invocation:
        invocation = self.api.expect(Invocation(event, **more))
        thread = threading.Thread(target=self._handle, args=(invocation,))
        self.threads.append(thread)
        thread.start()
        return invocation

    def _handle(self, invocation: Invocation) -> None:
        bootstrap.handle_event_request(
            self.client,
            self.handler,
            invocation.request_id,
            json.dumps(invocation.event).encode(),
            "application/json",
            None,
            None,
            "arn:aws:lambda:us-east-1:123456789012:function:test",
            int((time.time() + invocation.seconds) * 1000),
            None,
            bootstrap.StandardLogSink(),
            invocation.invocation_id,
        )


def found(release: str) -> Path | None:
    """The directory to put first on a worker's path, None for the installed release.

    Skips the test if it was not fetched.
    """
    if release == INSTALLED:
        return None
    directory = directory_of(release)
    if not directory.exists():
        pytest.skip(f"awslambdaric {release} is not there: `make .venv/.runtimes` fetches it")
    return directory


if __name__ == "__main__":
    for older in OLDER:
        fetch(older)
