"""The corporation's videos, and the URLs that a player can play. The bytes themselves are the stream function's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from vms.api import Api, Who
from vms.domain import videos
from vms.domain.videos import AdminVideo, Video
from vms.errors import Forbidden, NotFound, PlanRequired, QuotaExceeded
from vms.pages import Page
from vms.schemas import ABSENT, Body, BodyId, Change, Cursor, Deleted, FilePath, Limit, PathId, Search, VideoName, part

api = Api()


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


NO_OPTIONS = PlaybackOptions()


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


@api.put("/v1/videos/<video>", who=Who.ADMIN, summary="Change a video", description="The variable is the video's id.")
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


lambda_handler = api.handle
