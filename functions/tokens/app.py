"""A user's sessions, to list and to end. The tokens themselves are never shown."""

from vms.api import Api, Who
from vms.domain import sessions
from vms.domain.sessions import Session
from vms.pages import Page
from vms.schemas import Cursor, Limit, PathId, part

api = Api()


@api.get("/v1/tokens/<user_id>", who=Who.ADMIN_OR_SELF, summary="List a user's sessions")
def list_sessions(user_id: PathId, limit: Limit = 20, cursor: Cursor = None) -> Page[Session]:
    return sessions.browse(api.caller, user_id, part(limit, cursor))


@api.delete(
    "/v1/tokens/<user_id>",
    who=Who.ADMIN_OR_SELF,
    summary="Log a user out everywhere",
    description="Revokes each refresh token and each playback URL of the user.",
)
def end_sessions(user_id: PathId) -> None:
    sessions.revoke_all(api.caller, user_id)


lambda_handler = api.handle
