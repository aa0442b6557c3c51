"""The corporation's videos, and the URLs that a player can play. The bytes themselves are the stream function's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from vms import ranges
from vms.api import Api, Response, Who
from vms.domain import posters, progress, videos
from vms.domain.posters import Poster
from vms.domain.progress import Progress
from vms.domain.videos import AdminVideo, Video
from vms.errors import Forbidden, NotFound, PlanRequired, QuotaExceeded
from vms.observability import count
from vms.pages import Page
from vms.schemas import (
    ABSENT,
    Body,
    BodyId,
    Change,
    Cursor,
    Deleted,
    FilePath,
    Limit,
    PathId,
    Search,
    VideoName,
    part,
)
from vms.settings import quota

api = Api()
quota()  # a broken setting stops the function here


def _seconds(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of seconds")  # noqa: TRY004 - pydantic takes a ValueError for a refusal
    return value


def _interval(value: list[float]) -> list[float]:
    if value[0] > value[1]:
        raise ValueError("must not end before it starts")
    return value


# At most eleven days and a half: no film is as long.
Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(ge=0, le=1_000_000, description="Seconds from the start of the film.")
]
Interval = Annotated[
    list[Seconds],
    Field(min_length=2, max_length=2, description="Where it starts, and where it ends: not before its start."),
    AfterValidator(_interval),
]


class NewVideo(Body, json_schema_extra={"examples": [{"name": "Colours", "file_path": "demo/colours.mp4"}]}):
    """A video, and the path of its file in the corporation's folder of the bucket, which need not be there yet."""

    name: VideoName
    file_path: FilePath
    corporation_id: BodyId | None = None


class VideoChange(Change, json_schema_extra={"examples": [{"name": "Colours, once more"}], "minProperties": 1}):
    """Only the fields sent change; at least one is sent."""

    name: VideoName = ABSENT
    file_path: FilePath = ABSENT


class PlaybackOptions(Body, json_schema_extra={"examples": [{}, {"slices": True}]}):
    """With `slices`, ranges of this URL are answered by at most 6 MiB each, which only some players continue from."""

    slices: Annotated[bool, Field(strict=True)] = False


class Report(Body, json_schema_extra={"examples": [{"position": 40, "watched": [[0, 12.5], [30, 40]]}]}):
    """Where the player is, and the intervals that it has played since its last report, in any order."""

    position: Seconds
    watched: Annotated[list[Interval], Field(max_length=100, default_factory=list)]


NO_OPTIONS = PlaybackOptions()
IMAGES = ("image/webp", "image/jpeg")
BYTES = "application/octet-stream"  # what every generator of clients knows
SHOWN_AS_AN_IMAGE_ALONE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@dataclass(frozen=True, slots=True)
class Playback:
    """A URL that a `<video>` element can play until `expires_at`. Its token is of this user, for this video only."""

    url: str
    expires_at: datetime


@api.post(
    "/v1/videos",
    who=Who.ADMIN,
    summary="Add a video",
    status=201,
    errors=(NotFound, QuotaExceeded),
    idempotent=True,
    description="The file need not be there yet. 404 for another corporation's id. 403 (`quota-exceeded`) beyond the "
    "plan's number of videos.",
)
def create_video(body: NewVideo) -> AdminVideo | Video:
    return videos.create(api.caller, body.name, body.file_path, body.corporation_id, api.idempotency_key)


@api.get("/v1/videos", who=Who.MEMBER, summary="List the videos", errors=(Forbidden,))
def list_videos(
    limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False, q: Search = None
) -> Page[AdminVideo | Video]:
    return videos.browse(api.caller, part(limit, cursor), deleted=deleted, query=q)


@api.get(
    "/v1/videos/<video>",
    who=Who.MEMBER,
    summary="List the videos of a corporation, by the corporation's id",
    errors=(Forbidden,),
    description="Here `video` is the id of the caller's corporation: GET /v1/videos/id/{video_id} gets one video. "
    "The page is that of GET /v1/videos.",
)
def list_videos_of_corporation(
    video: PathId, limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False, q: Search = None
) -> Page[AdminVideo | Video]:
    return videos.browse(api.caller, part(limit, cursor), corporation_id=video, deleted=deleted, query=q)


@api.get("/v1/videos/id/<video_id>", who=Who.MEMBER, summary="Get a video")
def get_video(video_id: PathId) -> AdminVideo | Video:
    return videos.get(api.caller, video_id)


@api.put(
    "/v1/videos/<video>",
    who=Who.ADMIN,
    summary="Change a video",
    errors=(QuotaExceeded,),
    description="The variable is the video's id. 403 (`quota-exceeded`) for the uploaded file of a deleted video "
    "where the plan has no room for it.",
)
def change_video(video: PathId, body: VideoChange) -> AdminVideo | Video:
    return videos.change(api.caller, video, body.name, body.file_path)


@api.delete(
    "/v1/videos/<video>",
    who=Who.ADMIN,
    summary="Delete a video",
    description="The variable is the video's id. PUT …/restore undoes it.",
)
def delete_video(video: PathId) -> None:
    videos.delete(api.caller, video)


@api.put(
    "/v1/videos/<video>/restore",
    who=Who.ADMIN,
    summary="Restore a deleted video (PAID plan)",
    errors=(PlanRequired,),
    description="The variable is the video's id. 403 (`plan-required`) unless the plan is PAID and not expired; "
    "404 for a video that is not deleted.",
)
def restore_video(video: PathId) -> AdminVideo | Video:
    return videos.restore(api.caller, video)


@api.post(
    "/v1/videos/<video>/playback",
    who=Who.MEMBER,
    summary="Make a URL that a player can play",
    description="For a `<video>` element, which cannot send an Authorization header. The variable is the video's id. "
    "The body may be absent.",
)
def create_playback_url(video: PathId, body: PlaybackOptions = NO_OPTIONS) -> Playback:
    token, expires_at = videos.issue_playback(api.caller, video, slices=body.slices)
    return Playback(f"{api.base_url}/v1/videos/stream/{video}?token={token}", expires_at)


@api.put(
    "/v1/videos/<video>/progress",
    who=Who.MEMBER,
    summary="Report what one has watched",
    description="The variable is the video's id. Intervals are merged with those before, so a report may be sent "
    "again. Position and intervals are clipped to the film. At most 2.5 seconds for each second since the last report, "
    "and 30 more, are added; the rest is ignored. `completed_at` is set once, at 90 % (a setting) of a film whose "
    "`duration` is known. If the video gets another file, what was watched counts on.",
)
def report_progress(video: PathId, body: Report) -> Progress:
    found, completed = progress.report(api.caller, video, body.position, body.watched)
    if completed:
        count("Completions")
    return found


@api.get(
    "/v1/videos/<video>/progress",
    who=Who.MEMBER,
    summary="Get how far one is in a video",
    description="The variable is the video's id. The caller's own progress: `position` 0 where nothing was reported.",
)
def get_progress(video: PathId) -> Progress:
    return progress.get(api.caller, video)


@api.put(
    "/v1/videos/<video>/poster",
    who=Who.ADMIN,
    summary="Give a video its poster",
    takes=(BYTES,),
    description="The variable is the video's id. The body is a WebP or JPEG image, at most 60 KiB and 4096 pixels a "
    "side; its bytes decide which. Send it as `image/webp` or `image/jpeg`.",
)
def put_poster(video: PathId) -> Poster:
    return posters.put(api.caller, video, api.content(posters.MOST_BYTES))


@api.get(
    "/v1/videos/<video>/poster",
    who=Who.MEMBER,
    summary="Get a video's poster",
    media=(BYTES, *IMAGES),
    also={304: "The poster is one of `If-None-Match`"},
    description="The variable is the video's id; 404 where it has no poster, which the video's `poster` tells before: "
    "it is the ETag without its quotes. That of a deleted video is for admins. Ask with `Accept: image/webp`, "
    "whichever type it has: API Gateway sends the bytes as bytes only if the first type that a client accepts is one "
    "of images or videos, and else in base64.",
)
def get_poster(video: PathId) -> Response[bytes]:
    sent = ",".join(api.header("If-None-Match"))
    known = ["*"] if sent.strip() == "*" else [tag.removeprefix("W/") for tag in ranges.tags(sent)]
    found = posters.get(api.caller, video, known)
    # A browser asks again each time, so that a user who logs in after another sees no more than its own.
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if found.content is None:
        return Response(304, found.content_type, headers=headers, body=b"")
    return Response(200, found.content_type, found.content, headers | SHOWN_AS_AN_IMAGE_ALONE)


lambda_handler = api.handle
