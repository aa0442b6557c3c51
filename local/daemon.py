"""A server process that lives in a directory: started there, found again after the runner was killed, and ended."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from local.files import read_json

START_SECONDS = 60.0


class DaemonError(Exception):
    """A server cannot be started; the message says why, and what helps."""


class Daemon:
    """A running server. Its directory has its process (`pid`), `ports.json`, its secrets and its `log`."""

    name: ClassVar[str]
    port_names: ClassVar[Sequence[str]]
    farewells: ClassVar[Sequence[tuple[signal.Signals, float]]]  # each signal in turn, and the seconds to heed it

    directory: Path
    process: "subprocess.Popen[bytes] | None"

    @classmethod
    def mark(cls, directory: Path) -> str:
        """The argument by which the process of this directory is known."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it is there, is ours, and holds what it must hold."""
        raise NotImplementedError

    @classmethod
    def start_in(
        cls,
        directory: Path,
        connect: Callable[[dict[str, int]], Self],
        launch: Callable[[dict[str, int]], "subprocess.Popen[bytes]"],
    ) -> Self:
        """The directory's server: a running one, else a new one. Blocks until it answers. Raises `DaemonError`."""
        remembered = directory / "ports.json"
        ports = read_json(remembered)
        if ports and cls._living(directory) is not None and (daemon := connect(ports)).answers():
            return daemon
        cls.end(directory)
        ports = _free_ports(cls.port_names, ports)
        remembered.write_text(json.dumps(ports))
        daemon = connect(ports)
        daemon.process = process = launch(ports)
        (directory / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if daemon.answers():
                return daemon
            time.sleep(0.03)
        daemon.stop()
        log = (directory / "log").read_text("utf-8", "replace").strip().splitlines()
        raise DaemonError(f"{cls.name} did not start: " + " | ".join(log[-5:]))

    @classmethod
    def end(cls, directory: Path) -> None:
        """End the server that lives in this directory, if one does. Blocks until it is gone."""
        for number, seconds in cls.farewells:
            if (pid := cls._living(directory)) is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and cls._living(directory) is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.02)
        (directory / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it, its clients included."""
        self.end(self.directory)
        if self.process is not None:
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def _living(cls, directory: Path) -> int | None:
        try:
            pid = int((directory / "pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if runs_with(pid, cls.mark(directory)) else None


def runs_with(pid: int, argument: str) -> bool:
    """Whether this process was started with this argument; if not, its number has been given to another process."""
    if Path("/proc/self").exists():
        try:
            return argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return argument in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def run_detached(
    directory: Path, command: Sequence[str | Path], environment: dict[str, str], cwd: Path, user: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process that Ctrl-C in the terminal does not reach; it writes to the directory's log."""
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, group=user, cwd=cwd, env=environment,
            start_new_session=True,
        )  # fmt: skip


def _free_ports(names: Sequence[str], wanted: dict[str, int]) -> dict[str, int]:
    """A free port of 127.0.0.1 for each name, the wanted one if it is free."""
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for name in names:
            for port in (wanted.get(name, 0), 0):
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    ports[name] = probe.getsockname()[1]
                    break
    return ports
