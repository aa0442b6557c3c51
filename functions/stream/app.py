"""GET and HEAD /v1/videos/stream/{video_id}: the bytes of a video, and the view that they are.

This function does without Powertools' resolver and without pydantic: its start is what a viewer waits for.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from vms import auth, ranges, responses, storage, streaming
from vms.auth import Caller, Who
from vms.domain import videos, views
from vms.errors import Internal, Invalid, PreconditionFailed, Problem, RangeNotSatisfiable, StorageFailed, TooLarge
from vms.keys import signing_key
from vms.observability import authenticated, begin, count, emit, logger, observe, refused
from vms.ranges import Selection
from vms.representation import describe
from vms.responses import Streamed
from vms.settings import settings, stream_settings

if not settings().jwt_keys.startswith("arn:"):
    signing_key()  # a broken local key set stops the function now, not its first caller
if not stream_settings().buffered and streaming.running_in_lambda():
    streaming.install()


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    """Answer an API Gateway event: streamed, or whole where the platform cannot stream."""
    started = time.perf_counter()
    request_id = begin(event, context)
    try:
        response = respond(event, context.get_remaining_time_in_millis() / 1000)
    except Exception as failure:  # noqa: BLE001 - the last resort: the caller gets 500, the log gets the rest
        problem = as_problem(failure)
        refused(problem.status, problem.type)
        response = responses.problem(problem, request_id, body=event["httpMethod"] != "HEAD")
    observe(event, response.status, started)
    return responses.buffered(response, request_id) if stream_settings().buffered else response


def as_problem(failure: Exception) -> Problem:
    """What the caller is told of a failure."""
    if isinstance(failure, Problem):
        return failure
    logger.exception("unforeseen failure", exc_info=failure)
    return Internal()


def respond(event: dict[str, Any], seconds: float) -> Streamed:
    """The response to a stream request. A view is recorded only for GET with bytes, once what leaves first has come from S3.

    Raises:
        Problem: any of the tree, by the rules of the contract.
    """
    fields = read_fields(event)
    video_id = read_id(event["pathParameters"]["video_id"])
    caller, slices = authenticate(fields, event.get("queryStringParameters") or {}, video_id)
    authenticated(caller.user_id)
    source = videos.find_source(caller, video_id)
    head = event["httpMethod"] == "HEAD"
    config = stream_settings()
    selection, answer = fetch(source.key, fields, config.slice_bytes if slices else config.range_limit, head=head)
    try:
        refuse(selection, answer)
        headers = describe(answer.found, source.key, selection.status, selection.span)
        if head or selection.span is None:
            answer.close()
            return Streamed(selection.status, headers)
        response = Streamed(selection.status, headers, counted(answer.chunks(), event), seconds=seconds)
        response.begin(whole=config.buffered)
        if not source.granted and views.grant(caller, video_id):
            count("Views")
            count("PointsGranted", views.POINTS)
    except storage.Broken:
        raise StorageFailed from None  # nothing has left yet: the caller can still be told
    except BaseException:
        answer.close()
        raise
    return response


def fetch(key: str, fields: Mapping[str, str], slice_: int, *, head: bool) -> tuple[Selection, storage.Answer]:
    """What to answer, and S3's answer with those bytes. One request to S3, unless validators or size must be known first."""
    at_once, asked = ranges.ask(fields, slice_)
    try:
        answer = storage.get(key, asked) if at_once and not head else storage.head(key)
    except storage.Unsatisfiable:
        answer = storage.head(key)
    selection = ranges.select(fields, answer.found, slice_, stream_settings().whole_limit, time.time())
    if head or selection.span in {None, answer.span}:
        return selection, answer
    answer.close()
    return selection, storage.get_span(answer, selection.span)


def refuse(selection: Selection, answer: storage.Answer) -> None:
    """Raise the problem that a selection stands for, if it does."""
    match selection.status:
        case 412:
            raise PreconditionFailed
        case 413:
            raise TooLarge("This file is too large to be sent whole: ask for it by Range.")
        case 416:
            raise RangeNotSatisfiable(answer.found.size)


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
    """The caller, and whether its ranges may be answered by slices. A playback token in the URL decides, if there is one.

    Raises:
        Unauthenticated: there is no valid token.
    """
    if query.get("token"):
        return auth.authenticate_playback(query["token"], video_id)
    return auth.authenticate(fields.get("authorization"), Who.MEMBER), False
