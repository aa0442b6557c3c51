"""`python -m ops.history DIRECTORY`: writes each line that any commit up to this one had, by file.

One file for each path that there ever was, with the lines of all its versions, each once, and one with the commits'
messages, so that the search for secrets in files searches the history too. Files that hold nothing but pinned hashes
are left out, and so is what is not text.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# As in `make secrets`.
PINNED = re.compile(r"(^|/)requirements\.(lock|txt)$|^tests/awslambdaric/")


def versions() -> Iterator[tuple[str, bytes]]:
    """Path and content of every version of every file."""
    listed = _git("rev-list", "--objects", "HEAD").decode().splitlines()
    paths = dict(line.split(" ", 1) for line in listed if " " in line)
    answers = _git("cat-file", "--batch", given="\n".join(paths).encode())
    start = 0
    for path in paths.values():
        head, _, _ = answers[start : start + 200].partition(b"\n")
        _, kind, size = head.split()
        start += len(head) + 1
        if kind == b"blob":
            yield path, answers[start : start + int(size)]
        start += int(size) + 1


def write(directory: Path) -> int:
    """Write the files; returns how many versions they hold."""
    messages = _git("log", "--format=%B").decode().splitlines()
    lines: dict[str, dict[str, None]] = {"commit messages": dict.fromkeys(messages)}
    count = 0
    for path, content in versions():
        if b"\0" not in content and not PINNED.search(path):
            count += 1
            lines.setdefault(path, {}).update(dict.fromkeys(content.decode("utf-8", "replace").splitlines()))
    for number, (path, found) in enumerate(lines.items()):
        # A path may have been a file once and a directory later: each gets a directory of its own.
        target = directory / str(number) / path
        target.parent.mkdir(parents=True)
        target.write_text("\n".join(found) + "\n", "utf-8")
    return count


def _git(*arguments: str, given: bytes = b"") -> bytes:
    command = ["git", *arguments]  # whichever git the PATH has
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, check=True).stdout


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} versions of files are searched for secrets.")
