"""Environment variables as settings: the forms that their values may have, and how one is read."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class SettingError(Exception):
    """A setting is missing or broken; the message names it and never shows a value, which may be a secret."""


# What completes "must be …", and a parser that raises ValueError for anything else.
type Form[T] = tuple[str, Callable[[str], T]]


class Setting[T](NamedTuple):
    """One environment variable. A `default` of None means that it must be set; an empty variable counts as not set."""

    name: str
    form: Form[T]
    default: T | None
    used_by: str  # the functions, as directories below functions/
    says: str

    def read(self, environment: Mapping[str, str]) -> T:
        """The variable's value, or the default. Raises `SettingError`."""
        raw = environment.get(self.name, "")
        if not raw:
            if self.default is None:
                raise SettingError(f"setting {self.name} is missing")
            return self.default
        must_be, parse = self.form
        try:
            return parse(raw)
        except ValueError:
            raise SettingError(f"setting {self.name} must be {must_be}") from None


def one_of(*values: str) -> Form[str]:
    """One of these words."""

    def parse(raw: str) -> str:
        if raw not in values:
            raise ValueError
        return raw

    return " or ".join(f"`{value}`" for value in values), parse


def number[N: (int, float)](read: Callable[[str], N], least: N, most: N) -> Form[N]:
    """A number within these bounds, which are included."""

    def parse(raw: str) -> N:
        value = read(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return f"{_digits(least)} to {_digits(most)}", parse


def _digits(number: float) -> str:
    return str(int(number) if number == int(number) else number)


def _database_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or not parts.path.strip("/"):
        raise ValueError
    return raw


def _http_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    return raw.rstrip("/")


def _directory(raw: str) -> Path:
    if not Path(raw).is_dir():
        raise ValueError
    return Path(raw)


_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}|\*))?")


def _origins(raw: str) -> str:
    """Origins as browsers send them: another spelling, or the scheme's own port, would never match."""
    found = [part.strip() for part in raw.split(",")]
    for origin in found:
        parts = _ORIGIN.fullmatch(origin)
        if parts is None:
            raise ValueError
        scheme, host, port = parts.groups()
        if port == {"http": "80", "https": "443"}[scheme]:
            raise ValueError
        if port == "*" and host not in {"localhost", "127.0.0.1", "[::1]"}:
            raise ValueError
        if port not in {None, "*"} and int(port) > 65_535:
            raise ValueError
    return ",".join(found)


TEXT: Form[str] = ("text", str)
DATABASE_URL: Form[str] = ("`postgresql://user@host:5432/database`", _database_url)
HTTP_URL: Form[str] = ("an http or https URL", _http_url)
ORIGINS: Form[str] = ("origins in lower case, comma-separated, without a path or a default port", _origins)
DIRECTORY: Form[Path] = ("a directory", _directory)
