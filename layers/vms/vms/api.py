"""Routes over the Powertools REST resolver, each with who may use it, and every error as a problem document.

A function's app.py makes one `Api`, declares its routes on it, and hands events to `handle`. A route names its `Who`;
there is no default.
"""

import time
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Unpack, cast
from urllib.parse import quote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic_core import to_json

from vms import idempotency, keys, origins, request_body
from vms.auth import Caller, Who, authenticate
from vms.documented import Declared, describe
from vms.errors import PROBLEM_JSON, Internal, Invalid, NotFound, Problem
from vms.idempotency import IdempotencyKey, Replayed
from vms.observability import authenticated, begin, logger, observe, refused
from vms.settings import settings

__all__ = ["Api", "Response", "Who"]

type Event = Mapping[str, Any]


class Api:
    """The routes of one Lambda. A route that does not say who may use it is refused when it is declared."""

    def __init__(self) -> None:
        settings()  # a missing setting stops the function now, not its first caller
        self.resolver = APIGatewayRestResolver(serializer=_serialize)
        self.resolver.exception_handler(Problem)(self._answer_problem)
        self.resolver.exception_handler(RequestValidationError)(self._answer_invalid)
        self.resolver.exception_handler(Exception)(self._answer_internal)
        self.who: dict[tuple[str, str], Who] = {}
        self._validate = request_body.ValidateRequest()  # type: ignore[no-untyped-call]  # Powertools' own __init__
        options = self.route("OPTIONS", ".*", who=Who.ANONYMOUS, summary="What a path allows", documented=False)
        options(self._answer_options)

    def get[F: Callable[..., Any]](self, path: str, *, who: Who, **declared: Unpack[Declared]) -> Callable[[F], F]:
        """Declare a GET route, as `route` does."""
        return self.route("GET", path, who=who, **declared)

    def post[F: Callable[..., Any]](self, path: str, *, who: Who, **declared: Unpack[Declared]) -> Callable[[F], F]:
        """Declare a POST route, as `route` does."""
        return self.route("POST", path, who=who, **declared)

    def put[F: Callable[..., Any]](self, path: str, *, who: Who, **declared: Unpack[Declared]) -> Callable[[F], F]:
        """Declare a PUT route, as `route` does."""
        return self.route("PUT", path, who=who, **declared)

    def delete[F: Callable[..., Any]](self, path: str, *, who: Who, **declared: Unpack[Declared]) -> Callable[[F], F]:
        """Declare a DELETE route, which answers 204, as `route` does."""
        declared.setdefault("status", 204)
        return self.route("DELETE", path, who=who, **declared)

    def route[F: Callable[..., Any]](
        self, method: str, path: str, *, who: Who, **declared: Unpack[Declared]
    ) -> Callable[[F], F]:
        """Declare a route: method and path (`<name>` is a variable), who may use it, and what else it may answer.

        The handler's name is the route's `operationId`, in camel case.
        """
        status = declared.get("status", 200)
        self.who[method, path] = who
        if who is not Who.ANONYMOUS and not settings().jwt_keys.startswith("arn:"):
            keys.signing_key()  # a broken local key set stops the function now; without tokens none is needed

        def declare(handler: F) -> F:
            register: Callable[[F], F] = self.resolver.route(
                path,
                method,
                status_code=status,
                middlewares=[_gate(who), self._validate, *([_replay(status)] if declared.get("idempotent") else [])],
                **describe(handler.__name__, path, who, signature(handler).parameters, declared),
            )
            return register(handler)

        return declare

    @property
    def caller(self) -> Caller:
        """Whom the current request's token names. Only within a route that is not for the anonymous."""
        caller: Caller = self.resolver.context["caller"]
        return caller

    @property
    def idempotency_key(self) -> IdempotencyKey | None:
        """The current request's Idempotency-Key, if it has one.

        Only within an `idempotent` route. Raises `Invalid` for a broken one.
        """
        event, context = self.resolver.current_event, self.resolver.context
        sent = event.multi_value_headers.get(idempotency.HEADER)
        if sent is None:
            return None
        user_id = context["caller"].user_id if "caller" in context else None
        route = f"{event.http_method} {event.path}"
        return idempotency.name_request(sent, user_id, route, context.get("body"), _serialize)

    def content(self, most: int) -> bytes:
        """The current request's body as it was sent, of at most `most` bytes. Raises `TooLarge`."""
        return request_body.read(self.resolver.current_event, most)

    def header(self, name: str) -> list[str]:
        """The values of the current request's header of this name, none if it has none."""
        sent: list[str] = self.resolver.current_event.multi_value_headers.get(name) or []
        return sent

    @property
    def source_ip(self) -> str:
        """The address that the current request came from, as API Gateway saw it."""
        return self.resolver.current_event.request_context.identity.source_ip or ""

    @property
    def base_url(self) -> str:
        """The caller's URL up to the resource's path, with the stage or the custom domain's base path, if any."""
        event = self.resolver.current_event
        request = event["requestContext"]
        host = request.get("domainName") or event.headers.get("Host") or "localhost"
        scheme = event.headers.get("X-Forwarded-Proto") or "https"
        levels = event["resource"].rstrip("/").count("/")
        parts = request["path"].rstrip("/").split("/")
        return f"{scheme}://{host}{'/'.join(parts[: len(parts) - levels])}"

    @staticmethod
    def answer[T](body: T, status: int) -> T:
        """Answer with another status than the route's usual one.

        Powertools takes the pair; the type stays the body's own.
        """
        return cast("T", (body, status))

    def handle(self, event: Event, context: LambdaContext) -> dict[str, Any]:
        """Answer one API Gateway REST proxy event (payload version 1.0); never raises for what a caller sent."""
        self._request_id = begin(event, context)
        started = time.perf_counter()
        answer = self.resolver.resolve(_by_resource(event), context)
        if answer["statusCode"] == 204:
            answer["body"] = ""
            answer["multiValueHeaders"].pop("Content-Type", None)
        # Answers are about one caller, and some hold tokens (RFC 6749 section 5.1).
        answer["multiValueHeaders"].setdefault("Cache-Control", ["no-store"])
        for name, value in origins.headers(event).items():
            answer["multiValueHeaders"].setdefault(name, []).append(value)
        observe(event, answer["statusCode"], started)
        return answer

    def _answer_options(self) -> Response[str]:
        event = self.resolver.current_event.raw_event
        path = event["resource"].replace("{", "<").replace("}", ">")
        methods = sorted(method for method, declared in self.who if declared == path)
        if not methods:
            raise NotFound
        return Response(204, headers=origins.preflight(event, methods))

    def _answer_problem(self, problem: Problem) -> Response[Any]:
        refused(problem.status, problem.type)
        return Response(
            status_code=problem.status,
            content_type=PROBLEM_JSON,
            headers=dict(problem.headers),
            body=to_json(problem.body(self._request_id)).decode(),
        )

    def _answer_invalid(self, failure: RequestValidationError) -> Response[Any]:
        return self._answer_problem(Invalid([_field_problem(error) for error in failure.errors()]))

    def _answer_internal(self, failure: Exception) -> Response[Any]:
        logger.exception("unforeseen failure", exc_info=failure)
        return self._answer_problem(Internal())


def _gate(who: Who) -> Callable[[APIGatewayRestResolver, NextMiddleware], Response[Any]]:
    """Authenticates before validation, so that strangers learn nothing of the schema."""

    def gate(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
        if who is not Who.ANONYMOUS:
            authorization = app.current_event.headers.get("Authorization")
            caller = authenticate(authorization, who)
            authenticated(caller.user_id)
            app.append_context(caller=caller)  # type: ignore[no-untyped-call]
        return next_middleware(app)

    return gate


def _replay(status: int) -> Callable[[APIGatewayRestResolver, NextMiddleware], Response[Any]]:
    """Answers a repeated request as the first one: with the route's status of success and the kept body."""

    def replay(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
        try:
            return next_middleware(app)
        except Replayed as kept:
            return Response(status, "application/json", kept.answer, headers={idempotency.REPLAYED: "true"})

    return replay


def _by_resource(event: Event) -> dict[str, Any]:
    """The event with its path rebuilt from the resource that API Gateway matched and its decoded variables.

    So a stage prefix, a custom domain's base path or a slash inside of a variable cannot lead to another route than API
    Gateway's.
    """
    path = event["resource"]
    for name, value in (event.get("pathParameters") or {}).items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return {**event, "path": path}


def _serialize(body: object) -> str:
    return to_json(body).decode()


def _field_problem(error: Mapping[str, Any]) -> tuple[str, str]:
    place, *names = error["loc"]
    field = ".".join(str(name) for name in names) or str(place)
    return field, str(error["msg"]).removeprefix("Value error, ")
