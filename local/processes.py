"""Server processes by number: whether it is still ours, and its end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path


def runs_with(pid: int, argument: str) -> bool:
    """Whether the process of that number was started with this argument, rather than being another that got the number since."""
    if Path("/proc/self").exists():
        try:
            return argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return argument in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def end(pid: int, argument: str, signals: Iterable[tuple[signal.Signals, float]]) -> None:
    """End the process if it runs with this argument: each signal in turn, and so many seconds to heed it. Blocks until it is gone."""
    for sign, seconds in signals:
        if not runs_with(pid, argument):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and runs_with(pid, argument):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
