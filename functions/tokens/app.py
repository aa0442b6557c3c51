"""A user's sessions: see them, end them. The tokens themselves never leave."""

from typing import Any

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import sessions
from vms.domain.sessions import Session
from vms.errors import NotFound
from vms.pages import Page
from vms.schemas import Cursor, Limit, PathId, part

api = Api()


@api.route(
    "GET",
    "/v1/tokens/<user_id>",
    who=Who.ADMIN_OR_SELF,
    summary="List a user's sessions",
    tag="tokens",
    errors=(NotFound,),
)
def browse(user_id: PathId, limit: Limit = 20, cursor: Cursor = None) -> Page[Session]:
    """Newest first."""
    return sessions.browse(api.caller, user_id, part(limit, cursor))


@api.route(
    "DELETE",
    "/v1/tokens/<user_id>",
    who=Who.ADMIN_OR_SELF,
    summary="Log a user out everywhere",
    tag="tokens",
    status=204,
    errors=(NotFound,),
)
def revoke_all(user_id: PathId) -> None:
    """Revoke every session."""
    sessions.revoke_all(api.caller, user_id)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
