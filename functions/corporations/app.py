"""Corporations: sign-up, and each one's own."""

from typing import Any

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import corporations
from vms.domain.corporations import Corporation, Plan
from vms.errors import BadJson, Conflict, NotFound, TooLarge
from vms.pages import Page
from vms.schemas import (
    ABSENT,
    Body,
    Change,
    CorporationName,
    Cursor,
    Email,
    Limit,
    Password,
    PathId,
    PathName,
    Time,
    part,
)

api = Api()


class SignUp(Body):
    """A new corporation and its first admin."""

    name: CorporationName
    plan: Plan = "FREE"
    plan_expire_at: Time | None = None
    admin_email: Email
    admin_password: Password


class CorporationChange(Change):
    """Only the fields sent change; FREE clears the expiry."""

    name: CorporationName = ABSENT
    plan: Plan = ABSENT
    plan_expire_at: Time | None = None


@api.route(
    "POST",
    "/v1/corporations",
    who=Who.ANONYMOUS,
    summary="Sign up",
    tag="corporations",
    status=201,
    errors=(BadJson, Conflict, TooLarge),
)
def sign_up(body: SignUp) -> Corporation:
    """Make the corporation and its first admin, both or neither."""
    return corporations.sign_up(body.name, body.plan, body.plan_expire_at, body.admin_email, body.admin_password)


@api.route("GET", "/v1/corporations", who=Who.MEMBER, summary="List one's own corporation", tag="corporations")
def browse(limit: Limit = 20, cursor: Cursor = None) -> Page[Corporation]:
    """A page of one."""
    return corporations.browse(api.caller, part(limit, cursor))


@api.route(
    "GET",
    "/v1/corporations/id/<corporation_id>",
    who=Who.MEMBER,
    summary="Get one's own corporation by id",
    tag="corporations",
    errors=(NotFound,),
)
def get(corporation_id: PathId) -> Corporation:
    """By id."""
    return corporations.get(api.caller, corporation_id)


@api.route(
    "GET",
    "/v1/corporations/<corporation>",
    who=Who.MEMBER,
    summary="Get one's own corporation by name",
    tag="corporations",
    errors=(NotFound,),
)
def get_by_name(corporation: PathName) -> Corporation:
    """By name."""
    return corporations.get_by_name(api.caller, corporation)


@api.route(
    "PUT",
    "/v1/corporations/<corporation>",
    who=Who.ADMIN,
    summary="Change one's own corporation",
    tag="corporations",
    errors=(BadJson, NotFound, Conflict, TooLarge),
)
def change(corporation: PathId, body: CorporationChange) -> Corporation:
    """Name, plan, expiry."""
    return corporations.change(api.caller, corporation, body.model_dump(exclude_unset=True))


@api.route(
    "DELETE",
    "/v1/corporations/<corporation>",
    who=Who.ADMIN,
    summary="Delete one's own corporation, its users and its videos",
    tag="corporations",
    status=204,
    errors=(NotFound,),
)
def delete(corporation: PathId) -> None:
    """Softly."""
    corporations.delete(api.caller, corporation)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
