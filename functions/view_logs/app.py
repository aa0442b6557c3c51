"""Who viewed what."""

from vms.api import Api, Who
from vms.domain import views
from vms.domain.views import ViewLog
from vms.errors import NotFound
from vms.pages import Page
from vms.schemas import Body, BodyId, Cursor, Limit, PathId, part

api = Api()


class NewViewLog(Body, json_schema_extra={"examples": [{"video_id": 1}]}):
    """The video that the caller viewed."""

    video_id: BodyId


@api.get("/v1/view-logs/<user_id>/<video_id>", who=Who.ADMIN_OR_SELF, summary="Has this user viewed this video")
def has_viewed(user_id: PathId, video_id: PathId) -> bool:
    return views.has_viewed(api.caller, user_id, video_id)


@api.get("/v1/view-logs/<user_id>", who=Who.ADMIN_OR_SELF, summary="List a user's view logs")
def list_view_logs(user_id: PathId, limit: Limit = 20, cursor: Cursor = None) -> Page[ViewLog]:
    return views.browse(api.caller, user_id, part(limit, cursor))


@api.post(
    "/v1/view-logs",
    who=Who.MEMBER,
    summary="Log a view without points",
    status=201,
    errors=(NotFound,),
    also={200: "The standing view log of this video"},
    description="201 with the new view log, or 200 with the existing one. Streaming the video later still grants its "
    "points, once.",
)
def log_view(body: NewViewLog) -> ViewLog:
    view_log, made = views.log(api.caller, body.video_id)
    return api.answer(view_log, 201 if made else 200)


lambda_handler = api.handle
