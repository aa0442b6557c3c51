"""Runs MediaInfo over an uploaded file, in a process of its own that can open nothing: `vms.probe` starts it.

MediaInfo follows what a file refers to: a playlist's or a movie's files, also by URL. A hostile file may also exploit a
fault of the parser. So this process has no environment, and once the library is loaded it can open no file and no
socket, and has limits of memory and time. The bytes come from its parent: it writes `start length` to its
standard output, and reads so many bytes from its standard input; where that ends, so does the file for MediaInfo. Its
first line is `READY`, its last one the report.
"""

import json
import os
import resource
import sys

# Beside the function in its 512 MB, and within the API's 29 seconds of its third of a core. A film takes 45 MB, 0.1 s.
MEMORY_BYTES = 320 * 1024 * 1024
CPU_SECONDS = 6
READY = b"ready\n"


class Asked:
    """A file of so many bytes, which the parent sends block by block."""

    def __init__(self, size: int, block: int) -> None:
        self.size, self.block, self.position = size, block, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as `io.IOBase.seek` does."""
        self.position = max(offset + (0, self.position, self.size)[whence], 0)
        return self.position

    def tell(self) -> int:
        """Where it is."""
        return self.position

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many, and not beyond the end of a block: MediaInfo asks again."""
        end = min(self.position + size, (self.position // self.block + 1) * self.block, self.size)
        wanted, received = max(end - self.position, 0), b""
        if wanted:
            os.write(1, b"%d %d\n" % (self.position, wanted))
        while len(received) < wanted:
            piece = os.read(0, wanted - len(received))
            if not piece:
                break
            received += piece
        self.position += len(received)
        return received


def report(file: Asked) -> str:
    """What MediaInfo says, as JSON in one line."""
    from pymediainfo import MediaInfo

    MediaInfo.can_parse()  # loads the library, while files can still be opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.write(1, READY)
    said = MediaInfo.parse(file, buffer_size=file.block, parse_speed=0.2, output="JSON")
    return json.dumps(json.loads(said, strict=False))


if __name__ == "__main__":
    size, block = (int(text) for text in sys.argv[1:])
    line = report(Asked(size, block)).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]
