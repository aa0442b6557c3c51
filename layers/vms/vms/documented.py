"""What a route declares of itself, and what the OpenAPI document says of its answers."""

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NotRequired, TypedDict

from vms.auth import Who
from vms.errors import (
    PROBLEM_JSON,
    BadJson,
    Forbidden,
    Internal,
    Invalid,
    NotFound,
    Problem,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from vms.schemas import ProblemDocument


class Declared(TypedDict):
    """What a route declares of itself. `errors` are those of its own rule; `status` is that of success.

    An `idempotent` route hands `Api.idempotency_key` to its rule, so that a request with this header can be sent again.
    `also` has further statuses of success with the same body, and what each means. `media` has the body's media types,
    if it is not JSON of the handler's return type; `also_media` those that it may have as well as JSON. `takes` has the
    media types of a request body that is not JSON, which the handler gets by `Api.content`. A route that is not
    `documented` is not in the OpenAPI document.
    """

    summary: str
    description: NotRequired[str]
    status: NotRequired[int]
    errors: NotRequired[Sequence[type[Problem]]]
    idempotent: NotRequired[bool]
    also: NotRequired[Mapping[int, str]]
    media: NotRequired[Sequence[str]]
    takes: NotRequired[Sequence[str]]
    also_media: NotRequired[Sequence[str]]
    documented: NotRequired[bool]


def describe(name: str, path: str, who: Who, parameters: Collection[str], declared: Declared) -> dict[str, Any]:
    """What Powertools' resolver is told of a route for the document. `name` and `parameters` are its handler's.

    The problems that follow from the rest are added: of a body, a path variable, the role, and those of every route.
    """
    known: list[type[Problem]] = [*declared.get("errors", ()), Internal, Unavailable]
    if parameters:
        known += [Invalid]
    if "body" in parameters:
        known += [BadJson, TooLarge]
    if declared.get("takes"):
        known += [TooLarge]
    if "<" in path:
        known += [NotFound]
    if who is not Who.ANONYMOUS:
        known += [Unauthenticated]
    if who in {Who.ADMIN, Who.ADMIN_OR_SELF}:
        known += [Forbidden]
    return {
        "summary": declared["summary"],
        "description": declared.get("description"),
        "responses": _responses(known, declared),
        "operation_id": _camel_case(name),
        "include_in_schema": declared.get("documented", True),
        # `ops.openapi` completes the document by these.
        "openapi_extensions": {
            "x-who": who.value,
            **({"x-idempotent": True} if declared.get("idempotent") else {}),
            "x-takes": list(declared.get("takes", ())),
            "x-also-media": list(declared.get("also_media", ())),
        },
    }


def _responses(known: Sequence[type[Problem]], declared: Declared) -> dict[int, Any]:
    status = declared.get("status", 200)
    documented: dict[int, Any] = {status: {"description": HTTPStatus(status).phrase}}
    for other, meaning in declared.get("also", {}).items():
        documented[other] = {"description": meaning}
    if media := declared.get("media"):
        documented[status]["content"] = {kind: {"schema": _schema_of(kind)} for kind in media}
    for problem in dict.fromkeys(known):
        said = f"{problem.title} (`{problem.type}`)"
        if problem.status in documented:
            said = f"{documented[problem.status]['description']}, or: {said}"
        documented[problem.status] = {"description": said, "content": {PROBLEM_JSON: {"model": ProblemDocument}}}
    return documented


def _schema_of(media: str) -> dict[str, str]:
    """Of an answer's body: an object, text, or bytes."""
    if media == "application/json":
        return {"type": "object"}
    return {"type": "string"} if media.startswith("text/") else {"type": "string", "format": "binary"}


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
