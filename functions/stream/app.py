"""GET and HEAD /v1/videos/stream/{video_id}: the bytes of a video, and the view that they are.

This function does without Powertools' resolver and without pydantic: its start is what a viewer waits for.
"""

import time
from collections.abc import Generator, Iterator
from typing import Any

from vms import auth, ranges, storage, streaming
from vms.auth import Caller, Who
from vms.domain import videos, views
from vms.errors import Internal, Invalid, Problem, RangeNotSatisfiable, StorageFailed, TooLarge
from vms.keys import signing_key
from vms.observability import begin, count, emit, logger, observe
from vms.settings import settings, stream_settings
from vms.streaming import Streamed

if not settings().jwt_keys.startswith("arn:"):
    signing_key()  # a broken local key set stops the function now, not its first caller
if not stream_settings().buffered and streaming.running_in_lambda():
    streaming.install()

ASK_BY_RANGE = "This file is too large to be sent whole: ask for it by Range."


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    """Answer an API Gateway event: streamed, or whole where the platform cannot stream."""
    started = time.perf_counter()
    request_id = begin(event, context)
    try:
        response = respond(event, context.get_remaining_time_in_millis() / 1000)
    except Exception as failure:  # noqa: BLE001 - the last resort: the caller gets 500, the log gets the rest
        response = streaming.problem(as_problem(failure), request_id, body=event["httpMethod"] != "HEAD")
    observe(event, response.status, started)
    return streaming.buffered(response, request_id) if stream_settings().buffered else response


def as_problem(failure: Exception) -> Problem:
    """What the caller is told of a failure."""
    if isinstance(failure, Problem):
        return failure
    logger.exception("unforeseen failure", exc_info=failure)
    return Internal()


def respond(event: dict[str, Any], seconds: float) -> Streamed:
    """The response to a stream request; nothing is recorded unless it is one with bytes, of which what leaves first is already here.

    Raises:
        Problem: any of the tree, by the rules of the contract.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    video_id = read_id(event["pathParameters"]["video_id"])
    caller = authenticate(headers, event.get("queryStringParameters") or {}, video_id)
    source = videos.find_source(caller, video_id)
    if event["httpMethod"] == "HEAD":
        return answer_head(headers, source)
    answer, partial = ask_storage(headers, source.file_path)
    try:
        if ranges.not_modified(
            headers.get("if-none-match"), headers.get("if-modified-since"), answer.etag, answer.last_modified
        ):
            answer.close()
            return Streamed(304, validators(answer))
        whole = whole_limit()
        if not partial and whole and answer.size > whole:
            raise TooLarge(ASK_BY_RANGE)
        response = Streamed(
            206 if partial else 200,
            described(answer, source, answer.span if partial else None),
            counted(answer.chunks(), event),
            seconds=seconds,
        )
        # What leaves first is here before the view counts: the first bytes, or all of them where the answer must be whole.
        response.begin(whole=stream_settings().buffered)
        if views.grant(caller, video_id):
            count("Views")
            count("PointsGranted", views.POINTS)
    except storage.Broken:
        raise StorageFailed from None  # nothing has left yet: this can still be said
    except BaseException:
        answer.close()
        raise
    return response


def counted(chunks: Generator[bytes], event: dict[str, Any]) -> Iterator[bytes]:
    """The chunks; when they end, however they end, the bytes that were taken are counted."""
    taken = 0
    try:
        for chunk in chunks:
            yield chunk
            taken += len(chunk)
    finally:
        chunks.close()
        if taken:
            count("BytesStreamed", taken)
            emit(event)


def read_id(text: str) -> int:
    """A video's id from the path. Raises `Invalid`."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 2**63 or len(text) > 19:
        raise Invalid([("video_id", "must be a positive integer")])
    return int(text)


def authenticate(headers: dict[str, str], query: dict[str, str], video_id: int) -> Caller:
    """The caller, by its access token, or by a playback token in the URL. Raises `Unauthenticated`."""
    if "authorization" not in headers and query.get("token"):
        return auth.authenticate_playback(query["token"], video_id)
    return auth.authenticate(headers.get("authorization"), Who.MEMBER)


def ask_storage(headers: dict[str, str], key: str) -> tuple[storage.Answer, bool]:
    """Ask S3 for what the Range and If-Range headers want; returns its answer, and whether that is a part."""
    wanted = ranges.parse(headers.get("range"))
    if wanted is None:
        return storage.get(key), False
    asked = ranges.ask(wanted, stream_settings().slice_bytes)
    try:
        if asked is None:  # the last bytes, more than a slice: where they begin depends on the size
            span = ranges.resolve(wanted, storage.head(key).size, stream_settings().slice_bytes)
            if span is None:
                raise storage.Unsatisfiable
            asked = f"bytes={span.start}-{span.end}"
        answer = storage.get(key, asked)
    except storage.Unsatisfiable:
        known = storage.head(key)
        if not ranges.range_still_holds(headers.get("if-range"), known.etag, known.last_modified):
            return storage.get(key), False
        raise RangeNotSatisfiable(known.size) from None
    if ranges.range_still_holds(headers.get("if-range"), answer.etag, answer.last_modified):
        return answer, True
    answer.close()
    return storage.get(key), False


def answer_head(headers: dict[str, str], source: videos.Source) -> Streamed:
    """What GET would answer, without a body, a view or points."""
    known = storage.head(source.file_path)
    if ranges.not_modified(
        headers.get("if-none-match"), headers.get("if-modified-since"), known.etag, known.last_modified
    ):
        return Streamed(304, validators(known))
    wanted = ranges.parse(headers.get("range"))
    if wanted is None or not ranges.range_still_holds(headers.get("if-range"), known.etag, known.last_modified):
        if (limit := whole_limit()) and known.size > limit:
            raise TooLarge(ASK_BY_RANGE)
        return Streamed(200, described(known, source, None))
    span = ranges.resolve(wanted, known.size, stream_settings().slice_bytes)
    if span is None:
        raise RangeNotSatisfiable(known.size)
    return Streamed(206, described(known, source, span))


def whole_limit() -> int:
    """The largest file to send without a Range, in bytes; 0 for any."""
    config = stream_settings()
    if config.buffered:
        return min(config.max_bytes or config.slice_bytes, config.slice_bytes)
    return config.max_bytes


def validators(answer: storage.Answer) -> list[tuple[str, str]]:
    """The headers that 304 has in common with 200 (RFC 9110 section 15.4.5)."""
    found = [("ETag", answer.etag), ("Last-Modified", answer.last_modified), ("Cache-Control", "private")]
    return [(name, value) for name, value in found if value]


def described(answer: storage.Answer, source: videos.Source, span: ranges.Span | None) -> list[tuple[str, str]]:
    """The headers of 200 and, for a span, of 206. Whatever a file claims to be, a browser runs none of it as a page of this API."""
    headers = [
        ("Content-Type", media_type(answer.content_type, source.file_path)),
        ("Content-Length", str(span.length if span else answer.size)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox"),
        *validators(answer),
    ]
    if span:
        headers.append(("Content-Range", f"bytes {span.start}-{span.end}/{answer.size}"))
    return headers


def media_type(own: str, key: str) -> str:
    """The object's own type; S3's stand-in for none is as good as none: then what its name says, else video/mp4."""
    if own and own not in {"binary/octet-stream", "application/octet-stream"}:
        return own
    from mimetypes import guess_type  # only for objects that were stored without a type

    return guess_type(key)[0] or "video/mp4"
