"""Every setting, read from the environment in this one place, typed and checked once when the function starts.

A missing or broken setting raises `SettingError` whose one line names it; the function then does not start. README.md lists them.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

MIB = 1024 * 1024


class SettingError(Exception):
    """A setting is missing or broken; the message names it and never shows a secret's value."""


def _text(environment: Mapping[str, str], name: str, default: str | None = None) -> str:
    value = environment.get(name, "") or default
    if value is None:
        raise SettingError(f"setting {name} is missing")
    return value


def _number[N: (int, float)](
    environment: Mapping[str, str], name: str, default: N, least: N, most: N, read: Callable[[str], N]
) -> N:
    raw = environment.get(name, "")
    if not raw:
        return default
    try:
        value = read(raw)
    except ValueError:
        raise SettingError(f"setting {name} must be a number, not {raw!r}") from None
    if not least <= value <= most:
        raise SettingError(f"setting {name} must be between {least} and {most}, not {raw}")
    return value


def _switch(environment: Mapping[str, str], name: str) -> bool:
    raw = environment.get(name, "") or "false"
    if raw not in {"true", "false"}:
        raise SettingError(f"setting {name} must be true or false, not {raw!r}")
    return raw == "true"


@dataclass(frozen=True, slots=True)
class Settings:
    """What every function reads. Durations are seconds."""

    database_url: str
    database_iam_auth: bool
    database_connect_timeout: int
    jwt_keys: str
    jwt_issuer: str
    jwt_audience: str
    bcrypt_cost: int
    access_token_seconds: int
    refresh_token_seconds: int
    playback_token_seconds: int
    refresh_reuse_seconds: int
    login_attempts: int
    login_window_seconds: int
    region: str


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What the stream function reads besides. Sizes are bytes, durations seconds; `max_bytes` 0 means no limit."""

    bucket: str
    endpoint_url: str
    buffered: bool
    slice_bytes: int
    max_bytes: int
    connect_timeout: float
    first_byte_timeout: float
    idle_timeout: float

    @property
    def whole_limit(self) -> int:
        """The largest file to send without a Range, in bytes; 0 for any."""
        return min(self.max_bytes or self.slice_bytes, self.slice_bytes) if self.buffered else self.max_bytes

    @property
    def range_limit(self) -> int:
        """The most bytes of a range in one answer, a multiple of 1 MiB where it is over that; 0 for all that is asked for."""
        limit = self.whole_limit
        return limit // MIB * MIB or limit


def read(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings that all functions share.

    Raises:
        SettingError: one of them is missing or broken.
    """
    url = _text(environment, "DATABASE_URL")
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or not parts.path.strip("/"):
        raise SettingError("setting DATABASE_URL must look like postgresql://user@host:5432/database")
    return Settings(
        database_url=url,
        database_iam_auth=_switch(environment, "DATABASE_IAM_AUTH"),
        database_connect_timeout=_number(environment, "DATABASE_CONNECT_TIMEOUT_SECONDS", 5, 1, 30, int),
        jwt_keys=_text(environment, "JWT_KEYS"),
        jwt_issuer=_text(environment, "JWT_ISSUER", "vms"),
        jwt_audience=_text(environment, "JWT_AUDIENCE", "vms"),
        bcrypt_cost=_number(environment, "BCRYPT_COST", 12, 4, 16, int),
        access_token_seconds=_number(environment, "ACCESS_TOKEN_SECONDS", 900, 1, 86_400, int),
        refresh_token_seconds=_number(environment, "REFRESH_TOKEN_SECONDS", 2_419_200, 1, 31_536_000, int),
        playback_token_seconds=_number(environment, "PLAYBACK_TOKEN_SECONDS", 14_400, 1, 86_400, int),
        refresh_reuse_seconds=_number(environment, "REFRESH_REUSE_SECONDS", 10, 0, 300, int),
        login_attempts=_number(environment, "LOGIN_ATTEMPTS", 10, 1, 1_000_000, int),
        login_window_seconds=_number(environment, "LOGIN_WINDOW_SECONDS", 900, 1, 86_400, int),
        region=_text(environment, "AWS_REGION", environment.get("AWS_DEFAULT_REGION") or "us-east-1"),
    )


def read_stream(environment: Mapping[str, str]) -> StreamSettings:
    """Read and check the stream function's own settings.

    The slice defaults to the part of a response that AWS sends unthrottled (6 MiB), and to what fits a buffered answer (4 MiB).

    Raises:
        SettingError: one of them is missing or broken.
    """
    mode = _text(environment, "STREAM_MODE", "stream")
    if mode not in {"stream", "buffered"}:
        raise SettingError(f"setting STREAM_MODE must be stream or buffered, not {mode!r}")
    # sam local answers only buffered responses, whatever the template says.
    buffered = mode == "buffered" or environment.get("AWS_SAM_LOCAL") == "true"
    most = 4 * MIB if buffered else 200 * MIB
    slice_bytes = _number(environment, "STREAM_SLICE_BYTES", 0, 0, 200 * MIB, int)
    endpoint_url = environment.get("AWS_ENDPOINT_URL_S3", "") or environment.get("AWS_ENDPOINT_URL", "")
    if endpoint_url and (urlsplit(endpoint_url).scheme not in {"http", "https"} or not urlsplit(endpoint_url).hostname):
        raise SettingError("setting AWS_ENDPOINT_URL_S3 must be an http or https URL")
    return StreamSettings(
        bucket=_text(environment, "VIDEO_BUCKET"),
        endpoint_url=endpoint_url.rstrip("/"),
        buffered=buffered,
        slice_bytes=min(slice_bytes or (4 if buffered else 6) * MIB, most),
        max_bytes=_number(environment, "STREAM_MAX_BYTES", 0, 0, 2**40, int),
        connect_timeout=_number(environment, "S3_CONNECT_TIMEOUT_SECONDS", 2.0, 0.05, 60.0, float),
        first_byte_timeout=_number(environment, "S3_FIRST_BYTE_TIMEOUT_SECONDS", 5.0, 0.05, 60.0, float),
        idle_timeout=_number(environment, "S3_IDLE_TIMEOUT_SECONDS", 10.0, 0.05, 60.0, float),
    )


def parse_jwt_keys(text: str) -> tuple[str, dict[str, str]]:
    """Read the key set `{"current": kid, kid: secret, …}`; returns the signing kid and all secrets by kid.

    Raises:
        SettingError: the text is not such a set, or a secret has fewer than 32 characters (RFC 7518 section 3.2).
    """
    try:
        keys = json.loads(text)
        current = keys.pop("current")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingError('setting JWT_KEYS must hold {"current": "<kid>", "<kid>": "<secret>"}') from None
    if not isinstance(current, str) or current not in keys:
        raise SettingError("setting JWT_KEYS has no key of the name that `current` gives")
    if not all(isinstance(secret, str) and len(secret) >= 32 for secret in keys.values()):
        raise SettingError("setting JWT_KEYS has a secret of fewer than 32 characters")
    return current, keys


@cache
def settings() -> Settings:
    """This process's settings, read once. Raises `SettingError`."""
    return read(os.environ)


def migrations_directory() -> Path:
    """Where the migrations lie in this function. Raises `SettingError`."""
    directory = Path(_text(os.environ, "MIGRATIONS_DIR"))
    if not directory.is_dir():
        raise SettingError(f"setting MIGRATIONS_DIR is not a directory: {directory}")
    return directory


@cache
def stream_settings() -> StreamSettings:
    """This process's stream settings, read once. Raises `SettingError`."""
    return read_stream(os.environ)
