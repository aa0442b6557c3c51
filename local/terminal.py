"""What the person at the terminal sees: a line for each request, and the traceback of what went wrong."""

import asyncio
import contextlib
import json
import os
import sys

_RED, _GREEN, _YELLOW, _CYAN, _DIM = "31", "32", "33", "36", "2"


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
        self,
        method: str,
        path: str,
        status: int,
        ms: float,
        function: str,
        request_id: str,
        note: str = "",
        *,
        cold: float | None = None,
    ) -> str:
        """A request's line.

        `status` 0 says that the client left before there was one; `cold` is the init's ms where the request waited for
        it.
        """
        colour = _RED if status >= 500 or note else _YELLOW if status >= 400 else _GREEN
        columns = [
            f"{method:6} {printable(path)}",
            self._in(colour, str(status or "---")),
            f"{ms:.1f} ms",
            function.removesuffix("Function") or "-",
            self._in(_DIM, request_id),
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
