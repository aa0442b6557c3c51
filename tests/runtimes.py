"""The real awslambdaric in processes of its own: the installed release, and older ones that are fetched once and kept in pytest's cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.runtime_api import Invocation, RuntimeApi

ROOT = Path(__file__).parents[1]
INSTALLED = "installed"
# The newest release before each change of the client's methods. No release of 2 was built for Python 3.13, and its source needs the autotools:
# there its Python code runs on the compiled HTTP client of 3.1.1, whose source differs in passing on one more header (the tenant's id) alone.
OLDER = ("4.0.1", "3.1.1", "2.2.1")
_CLIENT_OF = {"2.2.1": "3.1.1"}
_LAST_PYTHON = {"2.2.1": (3, 12)}


class Unavailable(Exception):
    """A release cannot be fetched here; the message says why."""


def fetch(release: str, cache: Path) -> Path:
    """The directory that holds this release of awslambdaric; it is fetched unless the cache has it.

    Raises:
        Unavailable: there is no network, or no wheel for this machine.
    """
    directory = cache / f"{release}-cp{sys.version_info.major}{sys.version_info.minor}"
    if directory.exists():
        return directory
    python = min(sys.version_info[:2], _LAST_PYTHON.get(release, sys.version_info[:2]))
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--retries", "1", "--timeout", "10", "--only-binary", ":all:", "--target", f"{scratch}/new"]
        command += ["--python-version", f"{python[0]}.{python[1]}", f"awslambdaric=={release}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise Unavailable(
                f"awslambdaric {release} cannot be fetched from the package index: {done.stderr.strip().splitlines()[-1]}"
            )
        if python != sys.version_info[:2]:
            for compiled in fetch(_CLIENT_OF[release], cache).glob("runtime_client*"):
                shutil.copy(compiled, f"{scratch}/new")
        Path(scratch, "new").rename(directory)
    return directory


class Worker:
    """A process of awslambdaric that runs `handler` (`module.function`), as Lambda starts one."""

    def __init__(self, handler: str, path: list[Path], directory: Path, release: Path | None = None) -> None:
        self.api = RuntimeApi()
        self.release = release
        python_path = [*([release] if release else []), *path, ROOT / "layers" / "vms"]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(entry) for entry in python_path),
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
            "AWS_LAMBDA_FUNCTION_NAME": "test",
        }
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


def directory_of(release: str, config: pytest.Config) -> Path | None:
    """Where a release lies, None being the environment's own; the test is skipped where it cannot be had."""
    if release == INSTALLED:
        return None
    try:
        return fetch(release, config.cache.mkdir("awslambdaric") if config.cache else Path(tempfile.mkdtemp()))
    except (Unavailable, subprocess.TimeoutExpired) as failure:
        pytest.skip(str(failure))
