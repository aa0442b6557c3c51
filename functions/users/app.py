"""The members of one's corporation."""

from typing import Annotated, Self

from pydantic import Field, model_validator

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
    point: Annotated[int, Field(strict=True, ge=0, le=0)] = 0


class UserChange(Change):
    """A new password, a new role, or both; whoever changes its own password sends the current one along."""

    password: Password = ABSENT
    role: Role = ABSENT
    current_password: GivenPassword = ABSENT

    @model_validator(mode="after")
    def _not_the_proof_alone(self) -> Self:
        if self.model_fields_set == {"current_password"}:
            raise ValueError("must change at least one field")
        return self


@api.post("/v1/users", who=Who.ADMIN, summary="Add a member", status=201, errors=(NotFound, Conflict), idempotent=True)
def create(body: NewUser) -> User:
    return users.create(api.caller, body.email, body.password, body.role, body.corporation_id, api.idempotency_key)


@api.get("/v1/users", who=Who.ADMIN, summary="List the members")
def browse(limit: Limit = 20, cursor: Cursor = None) -> Page[User]:
    return users.browse(api.caller, part(limit, cursor))


@api.get("/v1/users/id/<user_id>", who=Who.ADMIN_OR_SELF, summary="Get a member by id")
def get(user_id: PathId) -> User:
    return users.get(api.caller, user_id)


@api.get("/v1/users/<user>", who=Who.ADMIN_OR_SELF, summary="Get a member by e-mail address")
def get_by_email(user: PathEmail) -> User:
    return users.get_by_email(api.caller, user)


@api.put(
    "/v1/users/<user>",
    who=Who.ADMIN_OR_SELF,
    summary="Change a member's password or role",
    errors=(Conflict, TooManyAttempts),
    description="A new password revokes the user's sessions. Only an admin may change a role, and never the last admin's.",
)
def change(user: PathId, body: UserChange) -> User:
    return users.change(api.caller, user, body.password, body.role, body.current_password)


@api.delete("/v1/users/<user>", who=Who.ADMIN_OR_SELF, summary="Delete a member", errors=(Conflict,))
def delete(user: PathId) -> None:
    users.delete(api.caller, user)


lambda_handler = api.handle
