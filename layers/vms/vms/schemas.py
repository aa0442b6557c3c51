"""The types of what callers send: bounds and formats of the contract, each said once, and seen in the OpenAPI document."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vms.canonical import opaque
from vms.pages import FIRST, Slice, read_cursor
from vms.passwords import MAX_BYTES, MIN_CHARACTERS

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Unicode categories: control, format, lone surrogate, private use, line and paragraph separator.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
# Format characters that scripts and emoji are written with: zero width (non-)joiner. Those at an end of a name are refused with the rest.
_JOINERS = {"\u200c", "\u200d"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?")
_DIGITS = re.compile(r"[0-9]{1,19}")


def _text(value: str) -> str:
    """Text without what PostgreSQL or a log cannot take: control characters, lone surrogates."""
    if _CONTROL.search(value):
        raise ValueError("must not have control characters")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _name(most: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        text = unicodedata.normalize("NFC", _text(value)).strip()
        if _has_invisible(text) or text[0] in _JOINERS or text[-1] in _JOINERS:
            raise ValueError("must not have invisible characters")
        if len(text) > most:
            raise ValueError(f"must have at most {most} characters")
        return text

    return check


def _has_invisible(text: str) -> bool:
    return any(unicodedata.category(character) in _INVISIBLE and character not in _JOINERS for character in text)


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value) or _has_invisible(value):
        raise ValueError("must be an e-mail address")
    return value


def _password(value: str) -> str:
    text = opaque(value)
    if len(text) < MIN_CHARACTERS:
        raise ValueError(f"must have at least {MIN_CHARACTERS} characters")
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes in UTF-8")
    if "\0" in text:
        raise ValueError("must not have a NUL character")
    return text


def _key(value: str) -> str:
    if len(value.encode()) > 1024:
        raise ValueError("must have at most 1024 bytes in UTF-8")
    if _SCHEME.match(value) and "//" in value:
        raise ValueError("must be a key in the project's bucket, not a URL")
    if value.startswith(("/", "\\")) or {".", ".."} & set(re.split(r"[/\\]", value)):
        raise ValueError("must be a relative key without . or .. in it")
    return value


def _time(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("must be a time such as 2030-01-31T12:00:00Z")
    moment = datetime.fromisoformat(value.upper())
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def _digits(value: object) -> object:
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("must be a positive integer")
    return value


def _decoded(value: object) -> object:
    # vms.api encodes path variables to keep a slash in one from looking like another level.
    return unquote(value) if isinstance(value, str) else value


def _says(**schema: object) -> Any:
    return Field(json_schema_extra=schema)  # type: ignore[arg-type]  # any JSON


# Names and passwords are measured in Unicode NFC, which a schema cannot say: the bounds below are for the document.
CorporationName = Annotated[str, _says(minLength=1, maxLength=100), AfterValidator(_name(100))]
VideoName = Annotated[str, _says(minLength=1, maxLength=255), AfterValidator(_name(255))]
Email = Annotated[str, Field(min_length=3, max_length=254), _says(format="email"), AfterValidator(_email)]
Password = Annotated[str, _says(format="password", minLength=MIN_CHARACTERS), AfterValidator(_password)]
GivenEmail = Annotated[str, Field(min_length=1, max_length=254), AfterValidator(_text)]
GivenPassword = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"format": "password"})]
FilePath = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_text), AfterValidator(_key)]
Time = Annotated[datetime, BeforeValidator(_time)]
Token = Annotated[str, Field(min_length=1, max_length=4096)]
BodyId = Annotated[int, Field(strict=True, ge=1, le=FIRST)]

PathId = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=FIRST), Path()]
PathName = Annotated[str, BeforeValidator(_decoded), AfterValidator(_text), Path()]
PathEmail = Annotated[str, BeforeValidator(_decoded), AfterValidator(_text), Path()]
Limit = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=100), Query(description="How many items at most.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Deleted = Annotated[bool, Query(description="List the deleted ones instead (admin).")]


class Body(BaseModel):
    """A request body: fields that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")


# The default of a field that a change may leave out: it is not null, which a caller may send only where the field's type has it.
ABSENT: Any = None


class Change(Body):
    """A request body of which any field may be left out (`ABSENT`), but not all."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must change at least one field")
        return self


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `instance` is the request id; `errors` comes with 422 alone."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] | None = None


def part(limit: int, cursor: str | None) -> Slice:
    """The slice that a page's query parameters ask for. Raises `vms.errors.Invalid` for a broken cursor."""
    return Slice(limit, FIRST if cursor is None else read_cursor(cursor))
