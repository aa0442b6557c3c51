"""GET and HEAD /v1/videos/stream/{video_id}: sends the bytes of a video, and records the view.

It uses neither Powertools' resolver nor pydantic, because the viewer waits for its start.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from vms import auth, origins, requested, responses, storage, streaming
from vms.auth import Caller, Who
from vms.domain import streams, videos, views
from vms.errors import Internal, Invalid, Problem, StorageFailed
from vms.keys import signing_key
from vms.observability import authenticated, begin, count, emit, logger, observe, refused
from vms.representation import describe
from vms.responses import Piece, Streamed
from vms.settings import settings, stream_settings

if not settings().jwt_keys.startswith("arn:"):
    signing_key()  # a broken local key set stops the function now, not its first caller
if not stream_settings().buffered and streaming.running_in_lambda():
    streaming.install(stream_settings().stall_seconds)


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    """Answer an API Gateway event: streamed, or whole where the platform cannot stream."""
    started = time.perf_counter()
    request_id = begin(event, context)
    try:
        response = respond(event, context.get_remaining_time_in_millis() / 1000)
    except Exception as failure:  # noqa: BLE001 - the last resort: the caller gets 500, the log gets the rest
        response = refuse(failure, request_id, head=event["httpMethod"] == "HEAD")
    observe(event, response.status, started)
    shared = origins.headers(event).items()
    if stream_settings().buffered:
        answer = responses.buffered(response, request_id)
        answer["multiValueHeaders"] |= {name: [value] for name, value in shared}
        return answer
    response.headers = [*response.headers, *shared]
    return response


def refuse(failure: Exception, request_id: str, *, head: bool) -> Streamed:
    """What the caller is told of a failure."""
    if isinstance(failure, Problem):
        problem = failure
    elif isinstance(failure, storage.Broken):
        problem = StorageFailed()  # nothing has left yet: the caller can still be told
    else:
        logger.exception("unforeseen failure", exc_info=failure)
        problem = Internal()
    refused(problem.status, problem.type)
    return responses.problem(problem, request_id, body=not head)


def respond(event: dict[str, Any], seconds: float) -> Streamed:
    """The response to a stream request. A view is recorded for a GET with bytes, once S3 has sent the first of them.

    Raises:
        Problem: any of the tree, by the rules of the contract.
        Broken: S3 broke off before a byte left.
    """
    if event["httpMethod"] == "OPTIONS":
        return Streamed(204, list(origins.preflight(event, ("GET", "HEAD")).items()))
    fields = read_fields(event)
    video_id = read_id(event["pathParameters"]["video_id"])
    caller, slices = authenticate(fields, event.get("queryStringParameters") or {}, video_id)
    authenticated(caller.user_id)
    source = videos.find_source(caller, video_id)
    config, head = stream_settings(), event["httpMethod"] == "HEAD"
    limit = config.slice_bytes if slices else config.range_limit
    selection, answer = requested.fetch(source.key, fields, limit, config.whole_limit, head=head)
    span = selection.span
    # What an upload was found to be; its uploader may have announced something else, which S3 would repeat.
    found = replace(answer.found, content_type=source.content_type or answer.found.content_type)
    headers = describe(found, source.key, selection.status, span)
    if head or span is None:
        return Streamed(selection.status, headers)
    with ExitStack() as held:  # released when the response ends, however it ends
        held.callback(answer.close)
        # An answer of a slice or less holds a function only briefly.
        if config.streams_per_user and span.length > config.slice_bytes:
            lease = streams.acquire(caller, config.streams_per_user, seconds)
            held.callback(streams.release, caller, lease)
        chunks = counted(answer.chunks(), event)
        held.callback(chunks.close)
        response = Streamed(selection.status, headers, chunks, seconds=seconds)
        response.begin(whole=config.buffered)
        if not source.granted and views.grant(caller, video_id):
            count("Views")
            count("PointsGranted", views.POINTS)
        response.held = held.pop_all()
    return response


def counted(chunks: Iterator[Piece], event: dict[str, Any]) -> Generator[Piece]:
    """The chunks; when they end, however they end, the bytes that were taken are counted."""
    taken = 0
    try:
        for chunk in chunks:
            yield chunk
            taken += len(chunk)
    finally:
        if taken:
            count("BytesStreamed", taken)
            emit(event)


def read_fields(event: Mapping[str, Any]) -> dict[str, str]:
    """The header fields, names in lower case; several lines of a field are one list (RFC 9110 section 5.3)."""
    lines = event.get("multiValueHeaders") or {name: [value] for name, value in (event.get("headers") or {}).items()}
    return {name.lower(): ", ".join(values) for name, values in lines.items()}


def read_id(text: str) -> int:
    """A video's id from the path. Raises `Invalid`."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not 0 < int(text) < 2**63:
        raise Invalid([("video_id", "must be a positive integer")])
    return int(text)


def authenticate(fields: Mapping[str, str], query: Mapping[str, str], video_id: int) -> tuple[Caller, bool]:
    """The caller, and whether its ranges may be answered by slices. A playback token in the URL decides, if present.

    Raises:
        Unauthenticated: there is no valid token.
    """
    if query.get("token"):
        return auth.authenticate_playback(query["token"], video_id)
    return auth.authenticate(fields.get("authorization"), Who.MEMBER), False
