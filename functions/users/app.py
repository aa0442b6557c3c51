"""The members of one's corporation."""

from typing import Self

from pydantic import model_validator

from vms.api import Api, Who
from vms.domain import users
from vms.domain.users import Role, User
from vms.errors import Conflict, NotFound, TooManyAttempts
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
    PathId,
    PathText,
    Zero,
    part,
)

api = Api()


class NewUser(
    Body, json_schema_extra={"examples": [{"email": "new-guest@paid.example", "password": "a good password"}]}
):
    """A new member. `corporation_id`, if sent, is the caller's own; `point` may be sent only as 0."""

    email: Email
    password: Password
    role: Role = "guest"
    corporation_id: BodyId | None = None
    point: Zero = 0


class UserChange(
    Change,
    json_schema_extra={
        "examples": [{"role": "admin"}, {"password": "a better password", "current_password": "demo-password"}],
        "minProperties": 1,
        "not": {
            "properties": {"current_password": {"type": "string"}},
            "required": ["current_password"],
            "maxProperties": 1,
        },
    },
):
    """A new password, a new role, or both. A user who changes its own password also sends `current_password`."""

    password: Password = ABSENT
    role: Role = ABSENT
    current_password: GivenPassword = ABSENT

    @model_validator(mode="after")
    def _not_the_proof_alone(self) -> Self:
        if self.model_fields_set == {"current_password"}:
            raise ValueError("must change at least one field")
        return self


@api.post(
    "/v1/users",
    who=Who.ADMIN,
    summary="Add a member",
    status=201,
    errors=(NotFound, Conflict),
    idempotent=True,
    description="409 where a live user of the service has this e-mail address, in any case. "
    "404 for another corporation's id.",
)
def create_user(body: NewUser) -> User:
    return users.create(api.caller, body.email, body.password, body.role, body.corporation_id, api.idempotency_key)


@api.get("/v1/users", who=Who.ADMIN, summary="List the members")
def list_users(limit: Limit = 20, cursor: Cursor = None) -> Page[User]:
    return users.browse(api.caller, part(limit, cursor))


@api.get("/v1/users/id/<user_id>", who=Who.ADMIN_OR_SELF, summary="Get a member by id")
def get_user(user_id: PathId) -> User:
    return users.get(api.caller, user_id)


@api.get(
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Get a member by e-mail address",
    description="The variable is the e-mail address, in any case, percent-encoded.",
)
def get_user_by_email(user: PathText) -> User:
    return users.get_by_email(api.caller, user)


@api.put(
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Change a member's password or role",
    errors=(Conflict, TooManyAttempts),
    description="The variable is the user's id. A new password revokes the user's sessions. Only an admin may change a "
    "role, and never the last admin's (409). 422 where one's own password changes and `current_password` is missing or "
    "wrong; after ten wrong ones, 429.",
)
def change_user(user: PathId, body: UserChange) -> User:
    return users.change(api.caller, user, body.password, body.role, body.current_password)


@api.delete(
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Delete a member",
    errors=(Conflict,),
    description="The variable is the user's id. The last admin stays (409).",
)
def delete_user(user: PathId) -> None:
    users.delete(api.caller, user)


lambda_handler = api.handle
