"""Starts `ministack`, an emulator of AWS, from its own virtual environment, on 127.0.0.1, with IAM enforced.

Its handlers run under its own Python and inherit its environment, so it gets an empty one: what a function needs comes
from the stack.
"""

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from tests.runner import free_port, stop

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """The endpoint of an emulator with its files in `directory`, until the block ends. Its log is `directory`/log.

    Raises:
        RuntimeError: it does not start.
    """
    port = free_port()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "MINISTACK_WORKER_THREADS": "256",  # a function that reads from S3 takes two threads
    }
    python = ROOT / ".venv-emulator" / "bin" / "python"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "ministack"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait(endpoint, process, directory / "log")
        yield endpoint
    finally:
        stop(process)


def _wait(endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the emulator did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
