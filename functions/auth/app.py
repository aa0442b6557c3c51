"""Log-in, token rotation, log-out, and who one is."""

from vms.api import Api, Who
from vms.domain import sessions, users
from vms.domain.sessions import TokenPair
from vms.domain.users import User
from vms.errors import TooManyAttempts, Unauthenticated
from vms.observability import count
from vms.schemas import Body, GivenEmail, GivenPassword, Token

api = Api()


class LogIn(Body, json_schema_extra={"examples": [{"email": "admin@paid.example", "password": "demo-password"}]}):
    """An e-mail address, in any case, and its password."""

    email: GivenEmail
    password: GivenPassword


class RefreshToken(Body, json_schema_extra={"examples": [{"refresh_token": "the refresh_token that logging in gave"}]}):
    """A refresh token as a log-in or a refresh gave it."""

    refresh_token: Token


@api.post(
    "/v1/auth/login",
    who=Who.ANONYMOUS,
    summary="Log in",
    errors=(Unauthenticated, TooManyAttempts),
    description="An unknown address and a wrong password get the same answer. After ten failures, attempts are refused "
    "for some minutes (429).",
)
def log_in(body: LogIn) -> TokenPair:
    try:
        return sessions.log_in(body.email, body.password, api.source_ip)
    except Unauthenticated:
        count("LogInFailures")
        raise


@api.post(
    "/v1/auth/refresh",
    who=Who.ANONYMOUS,
    summary="Replace a refresh token",
    errors=(Unauthenticated,),
    description="Each refresh token works once, and for some seconds after it again, for two tabs or a lost answer. "
    "A later use revokes all tokens that came of the same log-in.",
)
def refresh_tokens(body: RefreshToken) -> TokenPair:
    return sessions.refresh(body.refresh_token)


@api.post(
    "/v1/auth/logout",
    who=Who.MEMBER,
    summary="Log out",
    status=204,
    description="Revokes the session of this refresh token. Logging out twice is not an error.",
)
def log_out(body: RefreshToken) -> None:
    sessions.log_out(api.caller, body.refresh_token)


@api.get("/v1/auth/me", who=Who.MEMBER, summary="Who am I")
def get_me() -> User:
    return users.me(api.caller)


lambda_handler = api.handle
