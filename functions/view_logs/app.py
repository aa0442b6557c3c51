"""Who viewed what."""

from typing import Any

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import views
from vms.domain.views import ViewLog
from vms.errors import BadJson, NotFound, TooLarge
from vms.pages import Page
from vms.schemas import Body, BodyId, Cursor, Limit, PathId, part

api = Api()


class NewViewLog(Body):
    """The video that the caller viewed."""

    video_id: BodyId


@api.route(
    "GET",
    "/v1/view-logs/<user_id>/<video_id>",
    who=Who.ADMIN_OR_SELF,
    summary="Has this user viewed this video",
    tag="view logs",
    errors=(NotFound,),
)
def has_viewed(user_id: PathId, video_id: PathId) -> bool:
    """True or false."""
    return views.has_viewed(api.caller, user_id, video_id)


@api.route(
    "GET",
    "/v1/view-logs/<user_id>",
    who=Who.ADMIN_OR_SELF,
    summary="List a user's view logs",
    tag="view logs",
    errors=(NotFound,),
)
def browse(user_id: PathId, limit: Limit = 20, cursor: Cursor = None) -> Page[ViewLog]:
    """Newest first."""
    return views.browse(api.caller, user_id, part(limit, cursor))


@api.route(
    "POST",
    "/v1/view-logs",
    who=Who.MEMBER,
    summary="Log a view without points",
    tag="view logs",
    status=201,
    errors=(BadJson, NotFound, TooLarge),
    description="201 with the new view log, or 200 with the standing one. Streaming the video later still grants its points, once.",
)
def log(body: NewViewLog) -> ViewLog:
    """Grant nothing."""
    view_log, made = views.log(api.caller, body.video_id)
    return api.answer(view_log, 201 if made else 200)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
