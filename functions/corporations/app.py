"""Corporations: sign-up, and each one's own."""

from vms.api import Api, Who
from vms.domain import corporations
from vms.domain.corporations import Corporation, Plan
from vms.errors import Conflict, TooManyAttempts
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


@api.post(
    "/v1/corporations",
    who=Who.ANONYMOUS,
    summary="Sign up",
    status=201,
    errors=(Conflict, TooManyAttempts),
    idempotent=True,
)
def sign_up(body: SignUp) -> Corporation:
    return corporations.sign_up(
        body.name, body.plan, body.plan_expire_at, body.admin_email, body.admin_password, api.idempotency_key
    )


@api.get("/v1/corporations", who=Who.MEMBER, summary="List one's own corporation")
def browse(limit: Limit = 20, cursor: Cursor = None) -> Page[Corporation]:
    return corporations.browse(api.caller, part(limit, cursor))


@api.get("/v1/corporations/id/<corporation_id>", who=Who.MEMBER, summary="Get one's own corporation by id")
def get(corporation_id: PathId) -> Corporation:
    return corporations.get(api.caller, corporation_id)


@api.get("/v1/corporations/<corporation>", who=Who.MEMBER, summary="Get one's own corporation by name")
def get_by_name(corporation: PathName) -> Corporation:
    return corporations.get_by_name(api.caller, corporation)


@api.put("/v1/corporations/<corporation>", who=Who.ADMIN, summary="Change one's own corporation", errors=(Conflict,))
def change(corporation: PathId, body: CorporationChange) -> Corporation:
    return corporations.change(api.caller, corporation, body.model_dump(exclude_unset=True))


@api.delete(
    "/v1/corporations/<corporation>", who=Who.ADMIN, summary="Delete one's own corporation, its users and its videos"
)
def delete(corporation: PathId) -> None:
    corporations.delete(api.caller, corporation)


lambda_handler = api.handle
