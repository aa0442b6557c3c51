"""`make upload` at the terminal: who logs in, the bar, and what is said at the end."""

import getpass
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from local import demo
from ops import deployed
from ops.session import RefusedError, Session, SessionError, local_url
from ops.upload import upload

MIB = 1024 * 1024
# The demo's admin, where `make run` serves and nobody else is named.
DEMO = ("admin@paid.example", demo.PASSWORD)


def run(file: str, name: str, stack: str) -> str:
    """Send the file to the stack, or to what `make run` serves; returns what to tell.

    Raises:
        SessionError: the service refuses it, or there is no such file.
        DeployedError: there is no such stack, or AWS cannot be asked.
    """
    if not file:
        raise SessionError("which file? Say FILE=film.mp4 to make")
    path = Path(file)
    if not path.is_file():
        raise SessionError(f"{file} is no file")
    session = Session(deployed.api_url(stack) if stack else local_url())
    session.log_in(*_who(ask=bool(stack)))
    try:
        return _told(upload(session, path, name or None, Bar(sys.stderr).begin))
    except RefusedError as refusal:
        if refusal.type == "forbidden":
            raise SessionError("only an admin of a corporation may upload: log in as one, by EMAIL") from None
        raise
    finally:
        session.log_out()


def _who(*, ask: bool) -> tuple[str, str]:
    """E-mail address and password, from the environment or from the terminal; never from the command line."""
    email, password = os.environ.get("EMAIL", ""), os.environ.get("PASSWORD", "")
    if not ask and not email:
        return DEMO
    if not (email and password) and not sys.stdin.isatty():
        raise SessionError("who uploads? Export EMAIL and PASSWORD")
    try:
        return email or input("E-mail address: ").strip(), password or getpass.getpass()
    except EOFError:
        raise SessionError("who uploads? Nothing was typed") from None


def _told(video: dict[str, Any]) -> str:
    facts = [f"{video['size'] / MIB:.1f} MiB"]
    if video.get("duration"):
        minutes, seconds = divmod(round(video["duration"]), 60)
        facts.append(f"{minutes}:{seconds:02}")
    if video.get("width"):
        facts.append(f"{video['width']}x{video['height']}")
    told = f"Video {video['id']}, {video['name']}: {', '.join(facts)}"
    return told if video.get("browser_playable", True) else f"{told}. Browsers do not play it: {video.get('detail')}"


class Bar:
    """Shows how far an upload is: a bar on a terminal, elsewhere a line every so many seconds."""

    width = 30
    # Seconds over which the rate is measured.
    window = 5.0

    def __init__(self, output: TextIO, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self._clock = output, clock
        self._pause = 0.1 if output.isatty() else every
        self._lock = threading.Lock()
        self._size = self._sent = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._drawn = 0.0

    def begin(self, size: int, there: int) -> Callable[[int], None]:
        """Show a file of so many bytes, some of which are there; returns what is called with bytes that were sent."""
        self._size, self._sent, self._drawn = size, there, self._clock()
        self._samples = deque([(self._drawn, there)])
        if there:
            self._output.write(f"{there / MIB:.1f} of {size / MIB:.1f} MiB are there already\n")
        return self._add

    def _add(self, count: int) -> None:
        with self._lock:
            self._sent += count
            now = self._clock()
            over = self._sent == self._size
            if not over and now - self._drawn < self._pause:
                return
            self._drawn = now
            self._samples.append((now, self._sent))
            while len(self._samples) > 2 and self._samples[1][0] < now - self.window:
                self._samples.popleft()
            self._write(over=over)

    def _write(self, *, over: bool) -> None:
        (first, before), (last, sent) = self._samples[0], self._samples[-1]
        rate = max(sent - before, 0) / max(last - first, 0.001)
        text = f"{sent / MIB:.1f} of {self._size / MIB:.1f} MiB, {rate / MIB:.1f} MiB/s"
        if rate and not over:
            text += f", {(self._size - sent) / rate:.0f} s left"
        if self._output.isatty():
            bar = ("#" * (self.width * sent // self._size)).ljust(self.width, ".")
            self._output.write(f"\r\x1b[K[{bar}] {text}" + "\n" * over)
        else:
            self._output.write(f"{text}\n")
        self._output.flush()
