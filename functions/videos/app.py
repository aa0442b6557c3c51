"""The corporation's videos, and the URLs that a player can play. The bytes themselves are the stream function's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import videos
from vms.domain.videos import AdminVideo, Video
from vms.errors import BadJson, NotFound, PlanRequired, TooLarge
from vms.pages import Page
from vms.schemas import ABSENT, Body, BodyId, Change, Cursor, Deleted, FilePath, Limit, PathId, VideoName, part

api = Api()


class NewVideo(Body):
    """A video, and the key of its file in the project's bucket, which need not be there yet."""

    name: VideoName
    file_path: FilePath
    corporation_id: BodyId | None = None


class VideoChange(Change):
    """Only the fields sent change."""

    name: VideoName = ABSENT
    file_path: FilePath = ABSENT


@dataclass(frozen=True, slots=True)
class Playback:
    """A URL that a `<video>` element can play until `expires_at`; it holds a token of this user for this video alone."""

    url: str
    expires_at: datetime


@api.route(
    "POST",
    "/v1/videos",
    who=Who.ADMIN,
    summary="Add a video",
    tag="videos",
    status=201,
    errors=(BadJson, NotFound, TooLarge),
)
def create(body: NewVideo) -> AdminVideo | Video:
    """To the caller's corporation."""
    return videos.create(api.caller, body.name, body.file_path, body.corporation_id)


@api.route("GET", "/v1/videos", who=Who.MEMBER, summary="List the videos", tag="videos")
def browse(limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False) -> Page[AdminVideo | Video]:
    """Newest first."""
    return videos.browse(api.caller, part(limit, cursor), deleted=deleted)


@api.route(
    "GET",
    "/v1/videos/<video>",
    who=Who.MEMBER,
    summary="List the videos of a corporation, by its id",
    tag="videos",
    errors=(NotFound,),
    description="The variable is the id of the caller's own corporation; the page is that of GET /v1/videos.",
)
def browse_corporation(
    video: PathId, limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False
) -> Page[AdminVideo | Video]:
    """Newest first."""
    return videos.browse(api.caller, part(limit, cursor), corporation_id=video, deleted=deleted)


@api.route("GET", "/v1/videos/id/<video_id>", who=Who.MEMBER, summary="Get a video", tag="videos", errors=(NotFound,))
def get(video_id: PathId) -> AdminVideo | Video:
    """By id."""
    return videos.get(api.caller, video_id)


@api.route(
    "PUT",
    "/v1/videos/<video>",
    who=Who.ADMIN,
    summary="Change a video",
    tag="videos",
    errors=(BadJson, NotFound, TooLarge),
)
def change(video: PathId, body: VideoChange) -> AdminVideo | Video:
    """Name, file."""
    return videos.change(api.caller, video, body.name, body.file_path)


@api.route(
    "DELETE",
    "/v1/videos/<video>",
    who=Who.ADMIN,
    summary="Delete a video",
    tag="videos",
    status=204,
    errors=(NotFound,),
)
def delete(video: PathId) -> None:
    """Softly."""
    videos.delete(api.caller, video)


@api.route(
    "PUT",
    "/v1/videos/<video>/restore",
    who=Who.ADMIN,
    summary="Restore a deleted video (PAID plan)",
    tag="videos",
    errors=(NotFound, PlanRequired),
)
def restore(video: PathId) -> AdminVideo | Video:
    """Only under an effectively PAID plan."""
    return videos.restore(api.caller, video)


@api.route(
    "POST",
    "/v1/videos/<video>/playback",
    who=Who.MEMBER,
    summary="Make a URL that a player can play",
    tag="videos",
    errors=(NotFound,),
)
def playback(video: PathId) -> Playback:
    """For a `<video>` element, which cannot send an Authorization header."""
    token, expires_at = videos.issue_playback(api.caller, video)
    return Playback(f"{api.base_url}/v1/videos/stream/{video}?token={token}", expires_at)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
