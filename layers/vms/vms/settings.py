"""Every setting, read from the environment in this one place, typed and checked once when the function starts.

A missing or broken setting raises `SettingError`; its one line names the setting, and the function does not start.
`TABLE` lists all of them; the table in README.md is written from it by `make readme`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vms import variables
from vms.variables import DIRECTORY, HTTP_URL, ORIGINS, TEXT, Setting, number, one_of

MIB = 1024 * 1024
GIB = 1024 * MIB

_S3_SECONDS = number(float, 0.05, 60.0)
_UP_TO_A_DAY = number(int, 1, 86_400)
_USE_S3 = "console, operator, plan_expiry, stream, uploads"
_USE_QUOTAS = "corporations, operator, uploads, videos"

# One row a setting, which the formatter would spread over up to seven lines.
# fmt: off
DATABASE_URL = Setting("DATABASE_URL", variables.DATABASE_URL, None, "all",
    "PostgreSQL, as the user `vms_app`; on AWS with `?sslmode=verify-full`")
DATABASE_IAM_AUTH = Setting("DATABASE_IAM_AUTH", one_of("false", "true"), "false", "all",
    "`true`: connect with an RDS IAM token instead of a password")
DATABASE_PASSWORD_SECRET = Setting("DATABASE_PASSWORD_SECRET", TEXT, "", "all",
    "ARN of the secret that holds the password, if the URL does not: text, or JSON with the field `password`")
DATABASE_OWNER_URL = Setting("DATABASE_OWNER_URL", variables.DATABASE_URL, None, "migrate",
    "the same database as the owner of the schema, who may make roles")
DATABASE_OWNER_PASSWORD_SECRET = Setting("DATABASE_OWNER_PASSWORD_SECRET", TEXT, "", "migrate",
    "ARN of the secret that holds the owner's password")
DATABASE_CONNECT_TIMEOUT_SECONDS = Setting(
    "DATABASE_CONNECT_TIMEOUT_SECONDS", number(int, 1, 30), 5, "all", "wait for the database before 503")
JWT_KEYS = Setting("JWT_KEYS", TEXT, None, "all",
    'the signing keys: ARN of a secret, path of a file, or the JSON itself: `{"current": "k1", "k1": "…"}`')
JWT_ISSUER = Setting("JWT_ISSUER", TEXT, "vms", "all", "`iss` of the tokens")
JWT_AUDIENCE = Setting("JWT_AUDIENCE", TEXT, "vms", "all", "`aud` of the tokens")
BCRYPT_COST = Setting("BCRYPT_COST", number(int, 4, 16), 12, "auth, corporations, users",
    "work of one password hash: 12 takes about 0.25 s of a core, each step doubles it")
ACCESS_TOKEN_SECONDS = Setting("ACCESS_TOKEN_SECONDS", _UP_TO_A_DAY, 900, "auth, tokens", "life of an access token")
REFRESH_TOKEN_SECONDS = Setting("REFRESH_TOKEN_SECONDS", number(int, 1, 31_536_000), 2_419_200, "auth, tokens",
    "life of a refresh token (28 days)")
REFRESH_REUSE_SECONDS = Setting("REFRESH_REUSE_SECONDS", number(int, 0, 300), 10, "tokens",
    "a used refresh token is taken again for so long, since two tabs may send the same one")
PLAYBACK_TOKEN_SECONDS = Setting("PLAYBACK_TOKEN_SECONDS", _UP_TO_A_DAY, 14_400, "videos",
    "life of a playback URL (4 hours)")
LOGIN_ATTEMPTS = Setting("LOGIN_ATTEMPTS", number(int, 1, 1_000_000), 10, "auth, corporations, users",
    "failed log-ins for an e-mail address from one IP address before 429; ten times as many from all together")
LOGIN_WINDOW_SECONDS = Setting("LOGIN_WINDOW_SECONDS", _UP_TO_A_DAY, 900, "auth, corporations, users",
    "period in which they are counted")
PLAN_CHANGES = Setting("PLAN_CHANGES", one_of("operator", "self"), "operator", "corporations",
    "who makes a corporation PAID: the operator alone, or `self`, any admin of it; `make run` sets `self`")
CORS_ORIGINS = Setting("CORS_ORIGINS", ORIGINS, "", "all",
    "origins of web pages that may use the API, such as `https://www.example.com` or `http://localhost:*`")
PROGRESS_COMPLETE_PERCENT = Setting("PROGRESS_COMPLETE_PERCENT", number(int, 1, 100), 90, "videos",
    "part of a film that one must have watched to have completed it")
VIDEO_BUCKET = Setting("VIDEO_BUCKET", TEXT, None, _USE_S3, "S3 bucket of the files")
AWS_ENDPOINT_URL_S3 = Setting("AWS_ENDPOINT_URL_S3", HTTP_URL, "", _USE_S3, "S3 server other than AWS's")
AWS_ENDPOINT_URL = Setting("AWS_ENDPOINT_URL", HTTP_URL, "", _USE_S3, "the same, if the one above is not set")
AWS_REGION = Setting("AWS_REGION", TEXT, "", "all", "region; Lambda sets it")
AWS_DEFAULT_REGION = Setting("AWS_DEFAULT_REGION", TEXT, "us-east-1", "all", "region, if the one above is not set")
STREAM_MODE = Setting("STREAM_MODE", one_of("stream", "buffered"), "stream", "stream",
    "`buffered` where the platform cannot stream a response")
STREAM_SLICE_BYTES = Setting("STREAM_SLICE_BYTES", number(int, 0, 200 * MIB), 0, "stream",
    "most bytes of one slice; 0: 6 MiB streamed (AWS sends so much unthrottled), 4 MiB buffered")
STREAM_MAX_BYTES = Setting("STREAM_MAX_BYTES", number(int, 0, 2**40), 0, "stream",
    "largest file sent without a Range, 413 above it; 0: any. 190 MiB in `template.yaml`, below the limit of AWS")
STREAM_STALL_SECONDS = Setting("STREAM_STALL_SECONDS", number(float, 1.0, 900.0), 60.0, "stream",
    "a stream is cut when its client has read nothing for so long")
STREAMS_PER_USER = Setting("STREAMS_PER_USER", number(int, 0, 10_000), 16, "stream",
    "most streams of a user at the same time, 429 above it; those of a slice or less do not count; 0: any")
S3_CONNECT_TIMEOUT_SECONDS = Setting("S3_CONNECT_TIMEOUT_SECONDS", _S3_SECONDS, 2.0, "stream", "connect to S3")
S3_FIRST_BYTE_TIMEOUT_SECONDS = Setting("S3_FIRST_BYTE_TIMEOUT_SECONDS", _S3_SECONDS, 5.0, "stream",
    "wait for S3 to answer")
S3_IDLE_TIMEOUT_SECONDS = Setting("S3_IDLE_TIMEOUT_SECONDS", _S3_SECONDS, 10.0, "stream", "wait for its next bytes")
QUOTA_FREE_BYTES = Setting("QUOTA_FREE_BYTES", number(int, 0, 2**60), 5 * GIB,
    _USE_QUOTAS, "most bytes of uploaded files of a corporation on the FREE plan (5 GiB)")
QUOTA_FREE_VIDEOS = Setting("QUOTA_FREE_VIDEOS", number(int, 0, 1_000_000_000), 50, _USE_QUOTAS, "most videos of it")
QUOTA_PAID_BYTES = Setting("QUOTA_PAID_BYTES", number(int, 0, 2**60), 1024 * GIB,
    _USE_QUOTAS, "the same for PAID (1 TiB)")
QUOTA_PAID_VIDEOS = Setting("QUOTA_PAID_VIDEOS", number(int, 0, 1_000_000_000), 100_000,
    _USE_QUOTAS, "most videos of it")
UPLOAD_SECONDS = Setting("UPLOAD_SECONDS", number(int, 1, 518_400), 86_400, "uploads",
    "life of an upload that is not completed (a day)")
UPLOAD_URL_SECONDS = Setting("UPLOAD_URL_SECONDS", number(int, 1, 43_200), 3600, "uploads",
    "life of the URL that a part is sent to")
MIGRATIONS_DIR = Setting("MIGRATIONS_DIR", DIRECTORY, None, "migrate", "where the SQL files are (`sql/migrations`)")
# fmt: on

TABLE: tuple[Setting[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Setting))


@dataclass(frozen=True, slots=True)
class Settings:
    """What every function reads. Durations are seconds."""

    database_url: str
    database_iam_auth: bool
    database_password_secret: str
    database_connect_timeout: int
    jwt_keys: str
    jwt_issuer: str
    jwt_audience: str
    bcrypt_cost: int
    access_token_seconds: int
    refresh_token_seconds: int
    refresh_reuse_seconds: int
    playback_token_seconds: int
    login_attempts: int
    login_window_seconds: int
    plans_are_managed: bool
    cors_origins: tuple[str, ...]
    complete_percent: int
    region: str


@dataclass(frozen=True, slots=True)
class Quota:
    """How many bytes of uploaded files, and how many videos, a corporation of each plan may have."""

    free_bytes: int
    free_videos: int
    paid_bytes: int
    paid_videos: int


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """What uploads need to know of S3, and how long they live: lives in seconds."""

    bucket: str
    endpoint_url: str
    upload_seconds: int
    url_seconds: int


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What the stream function also reads.

    Sizes are bytes, durations seconds; 0 in `max_bytes` and `streams_per_user` means no limit.
    """

    bucket: str
    endpoint_url: str
    buffered: bool
    slice_bytes: int
    max_bytes: int
    stall_seconds: float
    streams_per_user: int
    connect_timeout: float
    first_byte_timeout: float
    idle_timeout: float

    @property
    def whole_limit(self) -> int:
        """The largest file to send without a Range, in bytes; 0 for any. A buffered answer holds one slice at most."""
        if self.buffered:
            return min(self.max_bytes or self.slice_bytes, self.slice_bytes)
        return self.max_bytes

    @property
    def range_limit(self) -> int:
        """The most bytes of a range in one answer, whole MiB if it is that much; 0 for all that is asked for."""
        limit = self.whole_limit
        return limit // MIB * MIB or limit


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """What the migrate function also reads."""

    owner_url: str
    owner_password_secret: str
    directory: Path


def read(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings that all functions share. Raises `SettingError`."""
    return Settings(
        database_url=DATABASE_URL.read(environment),
        database_iam_auth=DATABASE_IAM_AUTH.read(environment) == "true",
        database_password_secret=DATABASE_PASSWORD_SECRET.read(environment),
        database_connect_timeout=DATABASE_CONNECT_TIMEOUT_SECONDS.read(environment),
        jwt_keys=JWT_KEYS.read(environment),
        jwt_issuer=JWT_ISSUER.read(environment),
        jwt_audience=JWT_AUDIENCE.read(environment),
        bcrypt_cost=BCRYPT_COST.read(environment),
        access_token_seconds=ACCESS_TOKEN_SECONDS.read(environment),
        refresh_token_seconds=REFRESH_TOKEN_SECONDS.read(environment),
        refresh_reuse_seconds=REFRESH_REUSE_SECONDS.read(environment),
        playback_token_seconds=PLAYBACK_TOKEN_SECONDS.read(environment),
        login_attempts=LOGIN_ATTEMPTS.read(environment),
        login_window_seconds=LOGIN_WINDOW_SECONDS.read(environment),
        plans_are_managed=PLAN_CHANGES.read(environment) == "operator",
        cors_origins=tuple(filter(None, CORS_ORIGINS.read(environment).split(","))),
        complete_percent=PROGRESS_COMPLETE_PERCENT.read(environment),
        region=AWS_REGION.read(environment) or AWS_DEFAULT_REGION.read(environment),
    )


def read_stream(environment: Mapping[str, str]) -> StreamSettings:
    """Read and check the stream function's own settings. Raises `SettingError`."""
    # sam local answers only buffered responses, whatever the template says.
    buffered = STREAM_MODE.read(environment) == "buffered" or environment.get("AWS_SAM_LOCAL") == "true"
    most = 4 * MIB if buffered else 200 * MIB
    slice_bytes = STREAM_SLICE_BYTES.read(environment) or (4 if buffered else 6) * MIB
    return StreamSettings(
        bucket=VIDEO_BUCKET.read(environment),
        endpoint_url=AWS_ENDPOINT_URL_S3.read(environment) or AWS_ENDPOINT_URL.read(environment),
        buffered=buffered,
        slice_bytes=min(slice_bytes, most),
        max_bytes=STREAM_MAX_BYTES.read(environment),
        stall_seconds=STREAM_STALL_SECONDS.read(environment),
        streams_per_user=STREAMS_PER_USER.read(environment),
        connect_timeout=S3_CONNECT_TIMEOUT_SECONDS.read(environment),
        first_byte_timeout=S3_FIRST_BYTE_TIMEOUT_SECONDS.read(environment),
        idle_timeout=S3_IDLE_TIMEOUT_SECONDS.read(environment),
    )


def read_quota(environment: Mapping[str, str]) -> Quota:
    """Read and check the quotas. Raises `SettingError`."""
    rows = (QUOTA_FREE_BYTES, QUOTA_FREE_VIDEOS, QUOTA_PAID_BYTES, QUOTA_PAID_VIDEOS)
    return Quota(*(row.read(environment) for row in rows))


def read_uploads(environment: Mapping[str, str]) -> UploadSettings:
    """Read and check the settings of uploads. Raises `SettingError`."""
    return UploadSettings(
        bucket=VIDEO_BUCKET.read(environment),
        endpoint_url=AWS_ENDPOINT_URL_S3.read(environment) or AWS_ENDPOINT_URL.read(environment),
        upload_seconds=UPLOAD_SECONDS.read(environment),
        url_seconds=UPLOAD_URL_SECONDS.read(environment),
    )


@cache
def settings() -> Settings:
    """This process's settings, read once. Raises `SettingError`."""
    return read(os.environ)


def migration_settings() -> MigrationSettings:
    """This process's settings of migrations. Raises `SettingError`."""
    return MigrationSettings(
        owner_url=DATABASE_OWNER_URL.read(os.environ),
        owner_password_secret=DATABASE_OWNER_PASSWORD_SECRET.read(os.environ),
        directory=MIGRATIONS_DIR.read(os.environ),
    )


@cache
def stream_settings() -> StreamSettings:
    """This process's stream settings, read once. Raises `SettingError`."""
    return read_stream(os.environ)


@cache
def upload_settings() -> UploadSettings:
    """This process's settings of uploads, read once. Raises `SettingError`."""
    return read_uploads(os.environ)


@cache
def quota() -> Quota:
    """This process's quotas, read once. Raises `SettingError`."""
    return read_quota(os.environ)
