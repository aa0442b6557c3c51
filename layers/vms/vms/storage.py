"""Reads objects from S3: signed, by range, in chunks, resumed when a connection breaks, never two objects mixed.

Requests are signed by vms.signature and sent by http.client over one connection that stays open between invocations.
Memory is one chunk, whatever the object's size; over TLS, records are gathered into it (vms.bodies). Why not an SDK:
from the first import to the first chunk this takes 46 ms, botocore's signer with urllib3 180 ms and boto3 293 ms, and a
process holds 26, 46 and 66 MiB, at the same speed (`make bench-s3`, medians of seven processes on two cores).
"""

import http.client
import logging
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote, urlsplit

from vms import aws
from vms.bodies import Body
from vms.errors import FileMissing, StorageFailed
from vms.representation import Representation, Span
from vms.responses import Piece
from vms.settings import settings, stream_settings

# Before the first byte: how often a refusal that may pass (500, 503 SlowDown, a reset connection) is asked again, and
# after how long (seconds).
RETRY_AFTER = (0.1, 0.3)
# Within a body: how often it is resumed in a row without receiving a byte.
RESUMES = 3

logger = logging.getLogger(__name__)
_connection: http.client.HTTPConnection | None = None


class Unsatisfiable(Exception):
    """S3 says that the range lies outside of the object."""


class Broken(Exception):
    """A body that has begun cannot be brought to its end: the answer must end as a failure that its client notices."""


@dataclass(slots=True)
class Answer:
    """An object, or a part of it: `span` is what the body holds, None where there is no body (HEAD)."""

    key: str
    found: Representation
    span: Span | None
    response: Body | None

    def close(self) -> None:
        """Close a body that is not read to its end, and its connection."""
        if self.response is not None:
            self.response.close()
            self.response = None
            close()

    def chunks(self) -> Generator[Piece]:
        """The body, in pieces of at most 256 KiB, each of which is good until the next is asked for.

        Closing the iterator closes the connection to S3.

        Raises:
            Broken: it broke too often, or the object was replaced meanwhile.
        """
        span = self.span or Span(0, -1)
        position, resumes = span.start, 0
        try:
            while position <= span.end:
                piece = self._read(span.end - position + 1)
                if piece:
                    position, resumes = position + len(piece), 0
                    yield piece
                    continue
                resumes += 1
                if resumes > RESUMES:
                    raise Broken("the body broke too often without a byte in between")
                logger.warning("S3 broke off; resuming", extra={"resumes": resumes})
                self.close()
                self.response = _resumed(self, position, span.end)
            self._finish()
        finally:
            self.close()

    def _read(self, most: int) -> Piece:
        try:
            return self.response.read_chunk(most) if self.response is not None else b""
        except (OSError, http.client.HTTPException):
            return b""

    def _finish(self) -> None:
        """Keep the connection for the next request, if the server had nothing more to send over it."""
        if self.response is not None and self.response.length == 0:
            self.response.close()
            self.response = None


def get(key: str, range_header: str | None = None) -> Answer:
    """Ask for an object, or for a part of it.

    Raises:
        FileMissing: S3 has no such object.
        StorageFailed: S3 refuses it, or does not answer well in time.
        Unsatisfiable: the range lies outside of it.
    """
    response = _ask("GET", key, {"Range": range_header} if range_header else {})
    found, span = _read_head(response)
    return Answer(key, found, span, response)


def get_span(known: Answer, span: Span) -> Answer:
    """Ask for these bytes of the object that `known` is about.

    Raises as `get` does, `StorageFailed` also if it was replaced.
    """
    if span.length == 0:
        return Answer(known.key, known.found, span, None)
    response = _ask("GET", known.key, {"Range": f"bytes={span.start}-{span.end}", "If-Match": known.found.etag})
    return Answer(known.key, *_read_head(response), response)


def head(key: str) -> Answer:
    """Ask what an object is; the answer has no body. Raises as `get` does."""
    response = _ask("HEAD", key, {})
    response.read()
    return Answer(key, _read_head(response)[0], None, None)


def _read_head(response: Body) -> tuple[Representation, Span]:
    """What the object is, and which part of it the body holds."""
    length = int(response.headers.get("Content-Length") or 0)
    if response.status == 206:
        part, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first, _, last = part.partition("-")
        try:
            size, span = int(whole), Span(int(first), int(last))
        except ValueError:
            response.close()
            close()
            raise StorageFailed from None
    else:
        size, span = length, Span(0, length - 1)
    named = ("ETag", "Last-Modified", "Content-Type", "Content-Encoding")
    return Representation(size, *(response.headers.get(name, "") for name in named)), span


def _ask(method: str, key: str, headers: dict[str, str]) -> Body:
    for wait in (*RETRY_AFTER, None):
        try:
            response = _send(method, key, headers)
        except TimeoutError:
            logger.warning("S3 did not answer in time")
            raise StorageFailed from None
        except (OSError, http.client.HTTPException, aws.AwsError) as failure:
            logger.warning("S3 is unreachable: %s", type(failure).__name__)
            if wait is None:
                raise StorageFailed from None
        else:
            if response.status in {200, 206}:
                return response
            status = response.status
            response.close()
            close()
            if status == 416:
                raise Unsatisfiable
            if status == 404:
                raise FileMissing
            logger.warning("S3 answered %s", status)
            if status < 500 or wait is None:
                raise StorageFailed
        time.sleep(wait)
    raise StorageFailed  # pragma: no cover - the last round raises or returns


def _resumed(answer: Answer, position: int, end: int) -> Body | None:
    """The rest of the body, from the same object or not at all; None when S3 does not give it now."""
    headers = {"Range": f"bytes={position}-{end}", "If-Match": answer.found.etag}
    try:
        response = _send("GET", answer.key, headers)
    except (OSError, http.client.HTTPException, aws.AwsError):
        close()
        time.sleep(RETRY_AFTER[0])
        return None
    if response.status == 206 and response.headers.get("ETag", "") == answer.found.etag:
        return response
    status = response.status
    response.close()
    close()
    if status in {200, 206, 404, 412}:
        raise Broken("the object was replaced")
    time.sleep(RETRY_AFTER[0])
    return None


def _send(method: str, key: str, headers: dict[str, str]) -> Body:
    """One signed request over the standing connection; over a new one if the standing one was closed meanwhile."""
    global _connection
    config = stream_settings()
    base = (
        f"{config.endpoint_url}/{config.bucket}"
        if config.endpoint_url
        else aws.s3_endpoint(config.bucket, settings().region)
    )
    url = f"{base}/{quote(key, safe='/-._~')}"
    parts = urlsplit(url)
    signed = aws.sign_s3(method, url, {**headers, "Accept-Encoding": "identity"}, settings().region)
    reused = _connection is not None
    while True:
        if _connection is None:
            _connection = aws.connect(parts.scheme, parts.netloc, config.connect_timeout)
            _connection.response_class = Body
            _connection.connect()
        _connection.sock.settimeout(config.first_byte_timeout)
        try:
            _connection.request(method, parts.path, headers=signed)
            response = cast("Body", _connection.getresponse())
            needed = {200: ("ETag", "Content-Length"), 206: ("ETag", "Content-Range")}.get(response.status, ())
            if any(name not in response.headers for name in needed):
                response.close()
                raise http.client.IncompleteRead(b"")  # http.client takes a head that was cut off for a whole one
        except TimeoutError:
            close()
            raise
        except (OSError, http.client.HTTPException):
            close()
            if not reused:
                raise
            reused = False
            continue
        if _connection.sock is not None:  # http.client lets go of a connection that the server will close
            _connection.sock.settimeout(config.idle_timeout)
        else:
            _connection = None
        return response


def close() -> None:
    """Close the connection to S3; the next use opens another."""
    global _connection
    if _connection is not None:
        _connection.close()
        _connection = None
