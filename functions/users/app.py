"""The members of one's corporation."""

from typing import Any, Literal

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import users
from vms.domain.users import Role, User
from vms.errors import BadJson, Conflict, NotFound, TooLarge, TooManyAttempts
from vms.pages import Page
from vms.schemas import (
    ABSENT,
    Body,
    BodyId,
    Change,
    Cursor,
    Email,
    GivenPassword,
    Limit,
    Password,
    PathEmail,
    PathId,
    part,
)

api = Api()


class NewUser(Body):
    """A new member. `corporation_id`, if sent, is the caller's own; `point` may be sent only as 0."""

    email: Email
    password: Password
    role: Role = "guest"
    corporation_id: BodyId | None = None
    point: Literal[0] = 0


class UserChange(Change):
    """A new password, a new role, or both; whoever changes its own password sends the current one along."""

    password: Password = ABSENT
    role: Role = ABSENT
    current_password: GivenPassword = ABSENT


@api.route(
    "POST",
    "/v1/users",
    who=Who.ADMIN,
    summary="Add a member",
    tag="users",
    status=201,
    errors=(BadJson, NotFound, Conflict, TooLarge),
)
def create(body: NewUser) -> User:
    """With 0 points."""
    return users.create(api.caller, body.email, body.password, body.role, body.corporation_id)


@api.route("GET", "/v1/users", who=Who.ADMIN, summary="List the members", tag="users")
def browse(limit: Limit = 20, cursor: Cursor = None) -> Page[User]:
    """Newest first."""
    return users.browse(api.caller, part(limit, cursor))


@api.route(
    "GET",
    "/v1/users/id/<user_id>",
    who=Who.ADMIN_OR_SELF,
    summary="Get a member by id",
    tag="users",
    errors=(NotFound,),
)
def get(user_id: PathId) -> User:
    """By id."""
    return users.get(api.caller, user_id)


@api.route(
    "GET",
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Get a member by e-mail address",
    tag="users",
    errors=(NotFound,),
)
def get_by_email(user: PathEmail) -> User:
    """By e-mail address, in any case."""
    return users.get_by_email(api.caller, user)


@api.route(
    "PUT",
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Change a member's password or role",
    tag="users",
    errors=(BadJson, NotFound, Conflict, TooLarge, TooManyAttempts),
    description="A new password revokes the user's sessions. Only an admin may change a role, and never the last admin's.",
)
def change(user: PathId, body: UserChange) -> User:
    """Password, role."""
    return users.change(api.caller, user, body.password, body.role, body.current_password)


@api.route(
    "DELETE",
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Delete a member",
    tag="users",
    status=204,
    errors=(NotFound, Conflict),
)
def delete(user: PathId) -> None:
    """Softly; never the last admin."""
    users.delete(api.caller, user)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
