"""`make upload`: a film goes to a service in parts, several at a time, and goes on where it was interrupted.

The parts go straight to S3, by URLs that the API signs. Which ones S3 has is asked of the API, and a part counts as
there if its MD5, which is its ETag in S3, is that of the file.
"""

import hashlib
import os
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from ops.session import PAUSES, RefusedError, Session, SessionError

PARALLEL = 4
# URLs are asked for by so many at once, when the first of them is needed: so few have not ended before they are used.
URLS = 20
BLOCK = 128 * 1024
# To connect or to send a block, which a slow line may take long for; and for S3 to answer after the last byte.
_TIMEOUT = urllib3.Timeout(connect=20.0, read=60.0)

_CHANGED = "{} has changed while it was sent: run it again, and only what differs is sent"

type Show = Callable[[int], None]


class StoppedError(Exception):
    """The upload was interrupted."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the file: its number from 1 on, its first byte and its bytes."""

    number: int
    start: int
    size: int


def upload(session: Session, file: Path, name: str | None, begin: Callable[[int, int], Show]) -> dict[str, Any]:
    """Send the file, or what of it is missing; returns the video.

    `begin` is called with the file's bytes and those that S3 has; what it returns is called with the bytes of each
    block that is sent, which are negative for a part that failed.

    Raises:
        SessionError: the service or S3 refuses it, or the file cannot be read.
    """
    before = _stat(file)
    announced = _standing(session, file.name, before.st_size, name) or _announce(session, file, before.st_size, name)
    parts = _parts(announced)
    for _ in range(2):  # once more if S3 has lost a part meanwhile
        missing = _missing(session, announced["id"], file, parts)
        show = begin(before.st_size, before.st_size - sum(part.size for part in missing))
        Sender(session, announced["id"], file, show).send(missing)
        after = _stat(file)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SessionError(_CHANGED.format(file))
        try:
            video: dict[str, Any] = session.call("POST", f"/v1/uploads/{announced['id']}/complete")
        except RefusedError as refusal:
            if refusal.type != "upload-incomplete":
                raise
            last = refusal
        else:
            return video
    raise last


def _stat(file: Path) -> os.stat_result:
    try:
        found = file.stat()
    except OSError as failure:
        raise SessionError(f"{file}: {failure.strerror}") from failure
    if not file.is_file():
        raise SessionError(f"{file} is no file")
    if not found.st_size:
        raise SessionError(f"{file} is empty")
    if not os.access(file, os.R_OK):
        raise SessionError(f"{file} may not be read")
    return found


def _standing(session: Session, file_name: str, size: int, name: str | None) -> dict[str, Any] | None:
    """The newest open upload of such a file, if there is one."""
    file_name, name = _kept(file_name), name and _kept(name)
    cursor = ""
    while True:
        page = session.call("GET", f"/v1/uploads?limit=100{cursor}")
        for each in page["items"]:
            same = each["file_name"] == file_name and each["size"] == size and each["video_id"] is None
            if each["status"] == "open" and same and name in {None, each["name"]}:
                found: dict[str, Any] = each
                return found
        if page["next_cursor"] is None:
            return None
        cursor = f"&cursor={page['next_cursor']}"


def _kept(name: str) -> str:
    """A name as the service keeps it. That of a file on a Mac may be in another form of Unicode."""
    return unicodedata.normalize("NFC", name).strip()


def _announce(session: Session, file: Path, size: int, name: str | None) -> dict[str, Any]:
    body = {"file_name": file.name, "size": size} | ({"name": name} if name else {})
    made: dict[str, Any] = session.call("POST", "/v1/uploads", body, key=str(uuid.uuid4()))
    return made


def _parts(announced: Mapping[str, Any]) -> list[Part]:
    size, each = announced["size"], announced["part_size"]
    return [Part(i + 1, i * each, min(each, size - i * each)) for i in range(announced["part_count"])]


def _missing(session: Session, upload_id: int, file: Path, parts: list[Part]) -> list[Part]:
    """The parts that S3 does not have as they are in the file.

    Raises `SessionError`: it was put together, and is another file; then the upload has ended.
    """
    received = {each["number"]: each for each in session.call("GET", f"/v1/uploads/{upload_id}")["received"]}
    etags = {number: each["etag"].strip('"') for number, each in received.items()}
    whole = {etag for etag in etags.values() if "-" in etag}

    def there(part: Part) -> bool:
        found = received.get(part.number)
        return found is not None and found["size"] == part.size and etags[part.number] == _md5(file, part).hex()

    if not whole:
        return [part for part in parts if not there(part)]
    # Completion was interrupted. Each part has the whole object's ETag, which is the MD5 of the parts' MD5s.
    digests = b"".join(_md5(file, part) for part in parts)
    if whole != {f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"}:
        session.call("DELETE", f"/v1/uploads/{upload_id}")
        raise SessionError(f"an upload of {file.name} had ended with other bytes, and is removed: run it again")
    return []


def _md5(file: Path, part: Part) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as opened:
        opened.seek(part.start)
        left = part.size
        while left and (block := opened.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return digest.digest()


class _Body:
    """The bytes of a part, block by block, each of which is shown.

    Raises `StoppedError` once `stop` is set, and `SessionError` where the file ends too early: S3 would wait for more.
    """

    def __init__(self, file: Path, part: Part, show: Show, stop: threading.Event) -> None:
        self._file, self._part, self._show, self._stop = file, part, show, stop
        self.shown = 0

    def __iter__(self) -> Iterator[bytes]:
        left = self._part.size
        with self._file.open("rb") as opened:
            opened.seek(self._part.start)
            while left and (block := opened.read(min(BLOCK, left))):
                if self._stop.is_set():
                    raise StoppedError
                yield block
                left -= len(block)
                self.shown += len(block)
                self._show(len(block))
        if left:
            raise SessionError(_CHANGED.format(self._file))


class Sender:
    """Sends parts of a file, several at a time, each as often as it takes."""

    def __init__(self, session: Session, upload_id: int, file: Path, show: Show) -> None:
        self._session, self._upload_id, self._file, self._show = session, upload_id, file, show
        self._http = urllib3.PoolManager(maxsize=PARALLEL, timeout=_TIMEOUT, retries=False)
        self._stop = threading.Event()
        self._signing = threading.Lock()
        self._urls: dict[int, str] = {}
        self._unsigned: list[int] = []

    def send(self, parts: list[Part]) -> None:
        """Send them all. Raises `SessionError`; KeyboardInterrupt ends the parts that are on their way."""
        self._unsigned = [part.number for part in parts]
        with ThreadPoolExecutor(PARALLEL) as pool:
            sent = [pool.submit(self._send, part) for part in parts]
            try:
                done, _ = wait(sent, return_when=FIRST_EXCEPTION)
                for each in done:
                    each.result()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _send(self, part: Part) -> None:
        for again, pause in enumerate((*PAUSES, None)):
            url = self._url(part.number, fresh=again > 0)
            failure = self._put(part, url)
            if not failure:
                return
            if pause is None:
                raise SessionError(f"part {part.number} could not be sent: {failure}; run it again to go on")
            if self._stop.wait(pause):
                raise StoppedError

    def _put(self, part: Part, url: str) -> str:
        """Send it once; what went wrong is returned."""
        body = _Body(self._file, part, self._show, self._stop)
        failure = ""
        try:
            answer = self._http.request("PUT", url, body=body, headers={"Content-Length": str(part.size)})
            if answer.status != 200:
                failure = f"S3 answers {answer.status}"
        except urllib3.exceptions.HTTPError as broken:
            failure = type(broken).__name__
        except OSError as broken:
            failure = broken.strerror or type(broken).__name__
        if failure:
            self._show(-body.shown)
        return failure

    def _url(self, number: int, *, fresh: bool) -> str:
        with self._signing:
            if fresh or number not in self._urls:
                wanted = [number] if fresh else list(self._batch(number))
                signed = self._session.call("POST", f"/v1/uploads/{self._upload_id}/parts", {"numbers": wanted})
                self._urls |= {each["number"]: each["url"] for each in signed}
            return self._urls.pop(number)

    def _batch(self, number: int) -> Iterator[int]:
        """This part and those after it that have no URL yet."""
        at = self._unsigned.index(number)
        yield from self._unsigned[at : at + URLS]
