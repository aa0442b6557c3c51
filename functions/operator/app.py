"""The operator's actions. There is no route to this function: an operator is whoever has the AWS right to invoke it.

An event names its `action`. One that is not understood, and an action that is refused, are answered
`{"refused": "…"}`, a sentence, and change nothing: a failure of the function would raise the alarm.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import to_jsonable_python

from vms.domain.corporations import Plan
from vms.errors import Invalid, Problem
from vms.observability import logger
from vms.operator import accounts, export, purge, query
from vms.operator.errors import Refused
from vms.pages import FIRST, Slice, read_cursor
from vms.settings import quota, settings, stream_settings

settings()  # a missing setting stops the function here
stream_settings()
quota()

# Milliseconds before the time-out at which a purge answers how far it is: a statement takes up to 10 s.
MARGIN = 20_000

Id = Annotated[int, Field(strict=True, ge=1, le=FIRST)]
Limit = Annotated[int, Field(strict=True, ge=1, le=100)]
Cursor = Annotated[str | None, Field(max_length=1000)]


class Action(BaseModel):
    """An event: fields that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")


class Listing(Action):
    """An action that answers a page."""

    limit: Limit = 20
    cursor: Cursor = None

    @property
    def part(self) -> Slice:
        """The slice that is asked for. Raises `Invalid`: the cursor is broken."""
        return Slice(self.limit, FIRST if self.cursor is None else read_cursor(self.cursor))


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


class List(Listing):
    """Corporations whose name contains a text, deleted ones too."""

    action: Literal["list"]
    name: str = Field(default="", max_length=100, pattern=r"^[^\x00]*$")


class Show(Action):
    """One corporation: its plan, and what it uses."""

    action: Literal["show"]
    corporation: Id


class SetPlan(Action):
    """PAID until a time, or without an end; or FREE."""

    action: Literal["set-plan"]
    corporation: Id
    plan: Plan
    until: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None


class RevokeSessions(Action):
    """End the sessions of a user, or of all users of a corporation."""

    action: Literal["revoke-sessions"]
    user: Id | None = None
    corporation: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.user is None) == (self.corporation is None):
            raise ValueError("must name a user or a corporation, and not both")
        return self


class PurgeUser(Action):
    """Delete a user for good."""

    action: Literal["purge-user"]
    user: Id
    yes: Literal[True]


class PurgeCorporation(Action):
    """Delete a corporation for good, its files included."""

    action: Literal["purge-corporation"]
    corporation: Id
    yes: Literal[True]


class Export(Action):
    """Every row of a corporation, in pages."""

    action: Literal["export"]
    corporation: Id
    cursor: Cursor = None


class Sql(Action):
    """One statement that reads, with its time-out in seconds."""

    action: Literal["sql"]
    statement: str = Field(min_length=1, max_length=100_000)
    seconds: Annotated[int, Field(ge=1, le=600)] = 30


class WhoWatched(Listing):
    """The viewers of a video."""

    action: Literal["who-watched"]
    video: Id


type Event = Annotated[
    List | Show | SetPlan | RevokeSessions | PurgeUser | PurgeCorporation | Export | Sql | WhoWatched,
    Field(discriminator="action"),
]
EVENT: TypeAdapter[Any] = TypeAdapter(Event)


def perform(action: Action, out_of_time: Callable[[], bool]) -> object:
    """Do it; a purge answers how far it is once it is `out_of_time`. Raises `Refused`, and `Problem` where it fails."""
    answer: object = None
    match action:
        case List():
            answer = accounts.browse(action.part, action.name)
        case Show():
            answer = accounts.show(action.corporation)
        case SetPlan():
            answer = accounts.set_plan(action.corporation, action.plan, action.until)
        case RevokeSessions():
            answer = accounts.revoke_sessions(action.user, action.corporation)
        case WhoWatched():
            answer = accounts.who_watched(action.video, action.part)
        case PurgeUser():
            answer = purge.user(action.user, out_of_time)
        case PurgeCorporation():
            answer = purge.corporation(action.corporation, out_of_time)
        case Export():
            answer = export.page(action.corporation, action.cursor)
        case Sql():
            answer = query.run(action.statement, action.seconds)
    return answer


@logger.inject_lambda_context
def lambda_handler(event: Mapping[str, Any], context: LambdaContext) -> Any:
    """Do what the event says, and answer what its rule in `vms.operator` returns, or why it is refused."""
    said: dict[str, object] = {"caller": said_caller(context)}
    try:
        action = understood(event)
        said |= action.model_dump(include={"action", "user", "corporation", "video", "plan"}, exclude_none=True)
        logger.info("operator begins", extra=said)
        answer = to_jsonable_python(perform(action, lambda: context.get_remaining_time_in_millis() < MARGIN))
    except Refused as refusal:
        answer = {"refused": str(refusal)}
    except Invalid as refusal:
        answer = {"refused": "; ".join(f"{each['field']} {each['message']}" for each in refusal.errors)}
    except Problem as failure:
        logger.error("operator fails", extra={**said, "problem": failure.type})
        answer = {"refused": f"{failure.detail} What was done stays done; invoke it again."}
    logger.info("operator ends", extra={**said, "refused": "refused" in answer})
    return answer


def understood(event: Mapping[str, Any]) -> Any:
    """The action that an event names. Raises `Refused`, with no value of the event's in its text."""
    try:
        return EVENT.validate_python(event)
    except ValidationError as failure:
        faults = [
            f"{'.'.join(map(str, each['loc'][1:])) or 'event'}: {each['msg'].removeprefix('Value error, ')}"
            for each in failure.errors()
        ]
        raise Refused("; ".join(faults)) from None


def said_caller(context: LambdaContext) -> str | None:
    """Who invokes, by its own word: `caller` of the client context, as `make operator` sends it.

    Lambda does not tell a function who invoked it. CloudTrail has that, where it logs Lambda's data events.
    """
    custom = getattr(getattr(context, "client_context", None), "custom", None)
    return str(custom["caller"])[:300] if isinstance(custom, dict) and custom.get("caller") else None
