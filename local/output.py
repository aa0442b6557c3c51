"""What a person sees: requests and tracebacks on the terminal, and in bounded files what functions print."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

from local.gateway import Request

# A file over this is copied to NAME.log.1, whose former content goes.
MAX_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 256 * 1024
_RED, _GREEN, _YELLOW, _CYAN, _DIM = "31", "32", "33", "36", "2"


class Log:
    """Where a function's workers (through `fd`) and the runner write: a file, or a descriptor that is already open."""

    def __init__(self, target: Path | int) -> None:
        self._path = target if isinstance(target, Path) else None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self.fd = os.open(target, flags, 0o600) if isinstance(target, Path) else target
        self._lines = 0

    def write(self, line: str) -> None:
        """Add a line. A full file is copied and emptied, not renamed, because the workers hold it open."""
        with contextlib.suppress(OSError):  # nobody reads it any more, or the disk is full: no reason to fail a request
            os.write(self.fd, f"{line}\n".encode())
            self._lines += 1
            if self._path is not None and self._lines % 32 == 0 and os.fstat(self.fd).st_size > MAX_BYTES:
                shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
                os.ftruncate(self.fd, 0)

    def traceback(self, request_id: str) -> str | None:
        """The traceback in the request's last JSON line, if this is a file and the line is in its last 256 KiB."""
        if self._path is None:
            return None
        tail = os.pread(self.fd, _TAIL_BYTES, max(os.fstat(self.fd).st_size - _TAIL_BYTES, 0))
        for line in reversed(tail.splitlines()):
            if request_id.encode() in line and b'"exception"' in line:
                with contextlib.suppress(ValueError, AttributeError):
                    return str(json.loads(line).get("exception"))
        return None

    def close(self) -> None:
        """Write no more."""
        if self._path is not None:
            os.close(self.fd)


def say(line: str) -> None:
    """Print a line at once."""
    with contextlib.suppress(OSError):  # nobody reads it any more: no reason to fail a request
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


class Terminal:
    """Shows requests on the standard output, in colours on a terminal unless NO_COLOR (https://no-color.org) is set."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._lines: list[str] = []

    def show(self, line: str) -> None:
        """Print a line within 20 ms, together with others, because a write costs the runner a tenth of a request."""
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(0.02, self.flush)

    def flush(self) -> None:
        """Print what has not been printed yet."""
        if self._lines:
            lines, self._lines = self._lines, []
            say("\n".join(lines))

    def line(
        self, request: Request, status: int, ms: float, function: str, note: str = "", cold: float | None = None
    ) -> str:
        """A request's line; status 0: the client left before; `cold`: ms of the start that the request waited for."""
        colour = _RED if status >= 500 or note else _YELLOW if status >= 400 else _GREEN
        columns = [
            f"{request.method:6} {printable(request.path)}",
            self._in(colour, str(status or "---")),
            f"{ms:.1f} ms",
            function.removesuffix("Function") or "-",
            self._in(_DIM, request.request_id),
        ]
        if cold is not None:
            columns.append(self._in(_CYAN, f"cold start {cold:.0f} ms"))
        if note:
            columns.append(self._in(colour, printable(note)))
        return "  ".join(columns)

    def traceback(self, text: str) -> str:
        """A traceback, set off from the requests' lines."""
        return "\n".join(self._in(_RED, f"    {printable(line)}") for line in text.splitlines())

    def _in(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colours else text


def printable(text: str) -> str:
    """The text without characters that could steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def error_text(payload: bytes) -> str:
    """Lambda's error document as a Python traceback."""
    try:
        document = json.loads(payload)
        lines = [line for entry in document.get("stackTrace") or [] for line in str(entry).splitlines()]
        message = f"{document.get('errorType')}: {document.get('errorMessage')}"
    except (ValueError, AttributeError):
        return ""
    return "\n".join((*(("Traceback (most recent call last):",) if lines else ()), *lines, message))
