"""Log-in, token rotation, log-out, and who one is."""

from typing import Any

from vms.api import Api, Event, LambdaContext, Who
from vms.domain import sessions, users
from vms.domain.sessions import TokenPair
from vms.domain.users import User
from vms.errors import BadJson, TooLarge, TooManyAttempts, Unauthenticated
from vms.observability import count
from vms.schemas import Body, GivenEmail, GivenPassword, Token

api = Api()


class LogIn(Body):
    """An e-mail address, in any case, and its password."""

    email: GivenEmail
    password: GivenPassword


class RefreshToken(Body):
    """A refresh token as a log-in or a refresh gave it."""

    refresh_token: Token


@api.route(
    "POST",
    "/v1/auth/login",
    who=Who.ANONYMOUS,
    summary="Log in",
    tag="auth",
    errors=(BadJson, Unauthenticated, TooLarge, TooManyAttempts),
)
def log_in(body: LogIn) -> TokenPair:
    """Begin a session; an unknown address and a wrong password are answered alike."""
    try:
        return sessions.log_in(body.email, body.password, api.source_ip)
    except Unauthenticated:
        count("LogInFailures")
        raise


@api.route(
    "POST",
    "/v1/auth/refresh",
    who=Who.ANONYMOUS,
    summary="Replace a refresh token",
    tag="auth",
    errors=(BadJson, Unauthenticated, TooLarge),
    description="Each refresh token works once; a second use revokes all tokens that came of the same log-in.",
)
def refresh(body: RefreshToken) -> TokenPair:
    """Rotate."""
    return sessions.refresh(body.refresh_token)


@api.route(
    "POST",
    "/v1/auth/logout",
    who=Who.MEMBER,
    summary="Log out",
    tag="auth",
    status=204,
    errors=(BadJson, TooLarge),
    description="Revokes the session of this refresh token; saying it twice is no error.",
)
def log_out(body: RefreshToken) -> None:
    """Revoke the family."""
    sessions.log_out(api.caller, body.refresh_token)


@api.route("GET", "/v1/auth/me", who=Who.MEMBER, summary="Who am I", tag="auth")
def me() -> User:
    """Answer the caller itself."""
    return users.me(api.caller)


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)
