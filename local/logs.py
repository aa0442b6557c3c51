"""What a function prints, and the runner about it: in a file, bounded, or as it comes on a terminal."""

import contextlib
import json
import os
import shutil
from pathlib import Path

# A file over this is copied to NAME.log.1, whose former content goes.
MAX_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 256 * 1024


class Log:
    """Where a function's workers (through `fd`) and the runner write: a file, or a descriptor that is already open."""

    def __init__(self, target: Path | int) -> None:
        self._path = target if isinstance(target, Path) else None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self.fd = os.open(target, flags, 0o600) if isinstance(target, Path) else target
        self._lines = 0

    def write(self, line: str) -> None:
        """Add a line.

        A file that is full begins anew: the workers hold it open, so that it is copied and emptied, not renamed.
        """
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
