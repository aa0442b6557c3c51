"""The corporation's videos, and the URLs that a player can play. The bytes themselves are the stream function's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from vms.api import Api, Who
from vms.domain import videos
from vms.domain.videos import AdminVideo, Video
from vms.errors import NotFound, PlanRequired
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


class PlaybackOptions(Body):
    """With `slices`, ranges of this URL are answered by at most 6 MiB each: cheaper, but only some players go on from a short answer."""

    slices: Annotated[bool, Field(strict=True)] = False


NO_OPTIONS = PlaybackOptions()


@dataclass(frozen=True, slots=True)
class Playback:
    """A URL that a `<video>` element can play until `expires_at`; it holds a token of this user for this video alone."""

    url: str
    expires_at: datetime


@api.post("/v1/videos", who=Who.ADMIN, summary="Add a video", status=201, errors=(NotFound,), idempotent=True)
def create(body: NewVideo) -> AdminVideo | Video:
    return videos.create(api.caller, body.name, body.file_path, body.corporation_id, api.idempotency_key)


@api.get("/v1/videos", who=Who.MEMBER, summary="List the videos")
def browse(limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False) -> Page[AdminVideo | Video]:
    return videos.browse(api.caller, part(limit, cursor), deleted=deleted)


@api.get(
    "/v1/videos/<video>",
    who=Who.MEMBER,
    summary="List the videos of a corporation, by its id",
    description="The variable is the id of the caller's own corporation; the page is that of GET /v1/videos.",
)
def browse_corporation(
    video: PathId, limit: Limit = 20, cursor: Cursor = None, deleted: Deleted = False
) -> Page[AdminVideo | Video]:
    return videos.browse(api.caller, part(limit, cursor), corporation_id=video, deleted=deleted)


@api.get("/v1/videos/id/<video_id>", who=Who.MEMBER, summary="Get a video")
def get(video_id: PathId) -> AdminVideo | Video:
    return videos.get(api.caller, video_id)


@api.put("/v1/videos/<video>", who=Who.ADMIN, summary="Change a video")
def change(video: PathId, body: VideoChange) -> AdminVideo | Video:
    return videos.change(api.caller, video, body.name, body.file_path)


@api.delete("/v1/videos/<video>", who=Who.ADMIN, summary="Delete a video")
def delete(video: PathId) -> None:
    videos.delete(api.caller, video)


@api.put(
    "/v1/videos/<video>/restore", who=Who.ADMIN, summary="Restore a deleted video (PAID plan)", errors=(PlanRequired,)
)
def restore(video: PathId) -> AdminVideo | Video:
    return videos.restore(api.caller, video)


@api.post(
    "/v1/videos/<video>/playback",
    who=Who.MEMBER,
    summary="Make a URL that a player can play",
    description="For a `<video>` element, which cannot send an Authorization header. The body may be absent.",
)
def playback(video: PathId, body: PlaybackOptions = NO_OPTIONS) -> Playback:
    token, expires_at = videos.issue_playback(api.caller, video, slices=body.slices)
    return Playback(f"{api.base_url}/v1/videos/stream/{video}?token={token}", expires_at)


lambda_handler = api.handle
