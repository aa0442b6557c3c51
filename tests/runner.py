"""Starts the local runner, or a template's server alone, for whoever needs one: tests and benchmarks."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests import environment

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class Runner:
    """`python -m local` over a directory of its own, on a free port unless PORT says another. Its output goes to `log`.

    As a context manager it runs within the block, and leaves no process behind, also after a SIGKILL.
    """

    def __init__(self, directory: Path, python: str = sys.executable, **settings: str) -> None:
        self.directory = directory
        self.log = directory.with_name(f"{directory.name}.log")
        self._python = python
        self._settings = environment.of_child(**{"PORT": "0", "LOCAL_DIR": str(directory), **settings})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it serves. Raises `AssertionError` with the log's end."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "local", "run"], cwd=ROOT, env=self._settings, stdout=log, stderr=log
            )
        # A killed predecessor may have left both files; the env file is written last.
        _wait(self._process, self.log, lambda: self.record().get("pid") == self.pid and self.env.exists())
        return self

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def env(self) -> Path:
        """The file that says to clients what they need."""
        return self.directory / "env"

    @property
    def environment(self) -> dict[str, str]:
        """What that file says."""
        return read_environment(self.env)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return self.environment["API_URL"]

    def record(self) -> dict[str, Any]:
        """The runner's own record of itself, empty if there is none."""
        try:
            document: dict[str, Any] = json.loads((self.directory / "runner.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return document

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code is returned."""
        assert self._process is not None
        return stop(self._process, number)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `python -m local` command over the same directory."""
        command = [self._python, "-m", "local", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self._settings, capture_output=True, text=True, timeout=120, check=False
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end()
        if self._process is not None and self._process.returncode == -signal.SIGKILL:
            self.command("clean")  # ends the servers that it left running


@contextmanager
def template_served(
    directory: Path, log: Path, workers: Mapping[str, str], **settings: str
) -> Iterator[dict[str, int]]:
    """The server of `directory`/template.yaml with nothing around it; yields `port`, `invoke_port` and `pid`.

    The functions get `workers`, and those of `settings` that the template declares.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.serve_template", str(directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment.of_child(**settings, WORKERS=json.dumps(dict(workers)), LOG="raw"),
        )
    assert process.stdin is not None
    try:
        _wait(process, log, lambda: '"invoke_port"' in log.read_text("utf-8", "replace"))
        lines = log.read_text("utf-8").splitlines()
        yield json.loads(next(line for line in lines if line.startswith('{"port"')))
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGTERM) -> int:
    """End a process, by SIGKILL if it does not heed the signal; the exit code is returned."""
    process.send_signal(number)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_environment(path: Path) -> dict[str, str]:
    """The variables of an env file: a NAME=value each line."""
    return dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines() if "=" in line)


def _wait(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")
        time.sleep(0.05)
