"""Uploads: a film goes from its owner to S3 in parts, by signed URLs. No byte of it passes through here."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from vms import multipart
from vms.api import Api, Who
from vms.domain import completion, parts, uploads
from vms.domain.parts import SignedPart, UploadWithParts
from vms.domain.uploads import Upload
from vms.domain.videos import AdminVideo, Video
from vms.errors import NotAVideo, NotFound, QuotaExceeded, StorageFailed, UploadEnded, UploadIncomplete
from vms.observability import count
from vms.pages import Page
from vms.schemas import Body, BodyId, Cursor, Limit, PathId, VideoName, part, whole_number
from vms.settings import quota

api = Api()
quota()  # a broken setting stops the function here
multipart.client()  # its start is part of the function's, not of the first caller's request

FileSize = Annotated[
    int, BeforeValidator(whole_number), Field(ge=1, le=multipart.MAX_BYTES, description="Bytes of the file.")
]
PartNumber = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=multipart.MAX_PARTS)]


class NewUpload(Body, json_schema_extra={"examples": [{"file_name": "first-steps.mp4", "size": 73400320}]}):
    """A file that its owner wants to send. With `video_id`, it takes the place of that video's file."""

    file_name: VideoName
    size: FileSize
    name: VideoName | None = None
    video_id: BodyId | None = None


class Parts(Body, json_schema_extra={"examples": [{"numbers": [1, 2, 3]}]}):
    """Which parts are to be sent."""

    numbers: Annotated[list[PartNumber], Field(min_length=1, max_length=100)]


@api.post(
    "/v1/uploads",
    who=Who.ADMIN,
    summary="Begin an upload",
    status=201,
    errors=(NotFound, QuotaExceeded),
    idempotent=True,
    description="For a new video, or for the file of `video_id`, whose views and points stay. `name` is the file's "
    "name unless it is given. 403 (`quota-exceeded`) beyond what the plan has room for.",
)
def begin_upload(body: NewUpload) -> Upload:
    made = uploads.begin(api.caller, body.file_name, body.size, body.name, body.video_id, api.idempotency_key)
    count("UploadsBegun")
    return made


@api.get("/v1/uploads", who=Who.ADMIN, summary="List the uploads")
def list_uploads(limit: Limit = 20, cursor: Cursor = None) -> Page[Upload]:
    return uploads.browse(api.caller, part(limit, cursor))


@api.get(
    "/v1/uploads/<upload>",
    who=Who.ADMIN,
    summary="Get an upload, with the parts that have arrived",
    errors=(StorageFailed,),
)
def get_upload(upload: PathId) -> UploadWithParts:
    return parts.get(api.caller, upload)


@api.post(
    "/v1/uploads/<upload>/parts",
    who=Who.ADMIN,
    summary="Get the URLs that parts are sent to",
    errors=(UploadEnded, StorageFailed),
    description="Each takes a PUT of exactly the part's bytes: `part_size`, or for the last part the rest.",
)
def sign_parts(upload: PathId, body: Parts) -> list[SignedPart]:
    return parts.sign(api.caller, upload, body.numbers)


@api.post(
    "/v1/uploads/<upload>/complete",
    who=Who.ADMIN,
    summary="Complete an upload",
    status=201,
    errors=(UploadIncomplete, UploadEnded, NotAVideo, StorageFailed),
    also={200: "OK: it was completed before, and this is its video"},
    description="409 (`upload-incomplete`) names the parts that are missing or have a wrong size. 422 (`not-a-video`) "
    "for a file that is no film, which is then removed. Sent again, it gives the same video.",
)
def complete_upload(upload: PathId) -> AdminVideo | Video:
    try:
        video, made = completion.complete(api.caller, upload)
    except NotAVideo:
        count("UploadsRefused")
        raise
    if made:
        count("UploadsCompleted")
        count("UploadedBytes", video.size or 0)
    return video if made else api.answer(video, 200)


@api.delete(
    "/v1/uploads/<upload>",
    who=Who.ADMIN,
    summary="Abort an upload",
    errors=(UploadEnded, StorageFailed),
    description="The parts that have arrived are removed. 409 (`upload-ended`) for one that is complete.",
)
def abort_upload(upload: PathId) -> None:
    uploads.abort(api.caller, upload)


lambda_handler = api.handle
