"""Sign-up, and each corporation's own data."""

from vms.api import Api, Who
from vms.domain import corporations, quotas
from vms.domain.corporations import Corporation, Plan
from vms.domain.quotas import Quota
from vms.errors import Conflict, PlanManaged, TooManyAttempts
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
    PathText,
    Time,
    part,
)
from vms.settings import quota

api = Api()
quota()  # a broken setting stops the function here


class SignUp(
    Body,
    json_schema_extra={
        "examples": [
            {"name": "Paper Lanterns", "admin_email": "admin@lanterns.example", "admin_password": "a good password"},
            {
                "name": "Paper Boats",
                "plan": "PAID",
                "plan_expire_at": "2040-01-01T00:00:00Z",
                "admin_email": "admin@boats.example",
                "admin_password": "a good password",
            },
        ],
        "not": {
            "properties": {"plan": {"const": "FREE"}, "plan_expire_at": {"type": "string"}},
            "required": ["plan_expire_at"],
        },
    },
):
    """A new corporation and its first admin. Only a PAID plan has an expiry."""

    name: CorporationName
    plan: Plan = "FREE"
    plan_expire_at: Time | None = None
    admin_email: Email
    admin_password: Password


class CorporationChange(
    Change,
    json_schema_extra={
        "examples": [{"name": "Paid Motion Pictures"}, {"plan": "PAID", "plan_expire_at": "2040-01-01T00:00:00Z"}],
        "minProperties": 1,
        "not": {
            "properties": {"plan": {"const": "FREE"}, "plan_expire_at": {"type": "string"}},
            "required": ["plan", "plan_expire_at"],
        },
    },
):
    """Only the fields sent change; at least one is sent.

    FREE clears the expiry, and an expiry for a FREE plan is refused with 422.
    """

    name: CorporationName = ABSENT
    plan: Plan = ABSENT
    plan_expire_at: Time | None = None


@api.post(
    "/v1/corporations",
    who=Who.ANONYMOUS,
    summary="Sign up",
    status=201,
    errors=(Conflict, PlanManaged, TooManyAttempts),
    idempotent=True,
    description="Makes a corporation and its first admin, both or neither. 409 where the name, in any spelling that "
    "looks the same, or the e-mail address is taken. Where plans are the operator's, PAID is 403 `plan-managed`.",
)
def sign_up(body: SignUp) -> Corporation:
    return corporations.sign_up(
        body.name, body.plan, body.plan_expire_at, body.admin_email, body.admin_password, api.idempotency_key
    )


@api.get("/v1/corporations", who=Who.MEMBER, summary="List one's own corporation", description="A page of one.")
def list_corporations(limit: Limit = 20, cursor: Cursor = None) -> Page[Corporation]:
    return corporations.browse(api.caller, part(limit, cursor))


@api.get("/v1/corporations/id/<corporation_id>", who=Who.MEMBER, summary="Get one's own corporation by id")
def get_corporation(corporation_id: PathId) -> Corporation:
    return corporations.get(api.caller, corporation_id)


@api.get("/v1/corporations/id/<corporation_id>/quota", who=Who.MEMBER, summary="Get what the plan has room for")
def get_quota(corporation_id: PathId) -> Quota:
    return quotas.get(api.caller, corporation_id)


@api.get(
    "/v1/corporations/<corporation>",
    who=Who.MEMBER,
    summary="Get one's own corporation by name",
    description="The variable is the corporation's name, in any case, percent-encoded.",
)
def get_corporation_by_name(corporation: PathText) -> Corporation:
    return corporations.get_by_name(api.caller, corporation)


@api.put(
    "/v1/corporations/<corporation>",
    who=Who.ADMIN,
    summary="Change one's own corporation",
    errors=(Conflict, PlanManaged),
    description="The variable is the corporation's id. Where plans are the operator's, PAID and any expiry are 403 "
    "`plan-managed`; FREE gives a plan up.",
)
def change_corporation(corporation: PathId, body: CorporationChange) -> Corporation:
    return corporations.change(api.caller, corporation, body.model_dump(exclude_unset=True))


@api.delete(
    "/v1/corporations/<corporation>",
    who=Who.ADMIN,
    summary="Delete one's own corporation, its users and its videos",
    description="The variable is the corporation's id. Every token of its users stops working at once.",
)
def delete_corporation(corporation: PathId) -> None:
    corporations.delete(api.caller, corporation)


lambda_handler = api.handle
