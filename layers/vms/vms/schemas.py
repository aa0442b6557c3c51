"""The types of what callers send, with their bounds and formats; the OpenAPI document shows them."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vms import paths
from vms.canonical import name_key, opaque
from vms.pages import FIRST, Slice, read_cursor
from vms.passwords import MAX_BYTES, MIN_CHARACTERS

# Sets of characters, for the checks below and for the patterns of the document, which are regular expressions of
# ECMA-262.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
# Unicode's categories control, format, private use, line and paragraph separator, but for the zero width (non-)joiner,
# which scripts and emoji are written with. Those past U+FFFF, and lone surrogates, are checked, and in no pattern:
# JavaScript's engine without its flag u would not read it.
_INVISIBLE = (
    rf"{_CONTROL}\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b\u200e-\u200f\u2028-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ue000-\uf8ff\ufeff\ufff9-\ufffb"
)
INVISIBLE_PAST_FFFF = re.compile(
    r"[\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    r"\U000f0000-\U0010ffff]"
)
_JOINERS = r"\u200c\u200d"
_SPACES = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_VISIBLE = rf"[^{_INVISIBLE}{_JOINERS}{_SPACES}]"

TEXT_PATTERN = rf"^[^{_CONTROL}]+$"
NAME_PATTERN = rf"^[{_SPACES}]*{_VISIBLE}(?:[^{_INVISIBLE}]*{_VISIBLE})?[{_SPACES}]*$"
EMAIL_PATTERN = rf"^[^@{_INVISIBLE}{_SPACES}]+@[^@.{_INVISIBLE}{_SPACES}]+(?:\.[^@.{_INVISIBLE}{_SPACES}]+)+$"

_HAS_CONTROL = re.compile(f"[{_CONTROL}]")
_NAME = re.compile(NAME_PATTERN)
_EMAIL = re.compile(EMAIL_PATTERN)
_TIME = re.compile(r"[1-9]\d{3}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}")


def _line(value: str) -> str:
    """Text without what PostgreSQL or a log cannot take: control characters."""
    if _HAS_CONTROL.search(value):
        raise ValueError("must not have control characters")
    return value


def _text(value: str) -> str:
    if not _line(value).strip():
        raise ValueError("must not be blank")
    return value


def _searched(value: str) -> str:
    if not name_key(_text(value)):
        raise ValueError("must not be blank")  # what cannot be seen does not count in a name: it would find all
    return value


def _name(most: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        text = unicodedata.normalize("NFC", _text(value))
        if not _NAME.fullmatch(text) or INVISIBLE_PAST_FFFF.search(text):
            raise ValueError("must not have invisible characters")
        if len(text) > most:
            raise ValueError(f"must have at most {most} characters")
        return text.strip()

    return check


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value) or INVISIBLE_PAST_FFFF.search(value):
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


def whole_number(value: object) -> object:
    """Refuse what is not a JSON number; the type itself refuses fractions."""
    # JSON has one kind of number: 1.0 is an integer (JSON Schema Validation section 6.1.1), and neither true nor "1"
    # is.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be an integer")  # noqa: TRY004 - pydantic takes a ValueError for a refusal, no TypeError
    return value


# Names and passwords are measured in Unicode NFC, which a schema cannot say: the bounds below are for the document.
_IN_NFC = "Measured, and kept, in Unicode's form NFC. Spaces at its ends are then cut off. No invisible characters."
CorporationName = Annotated[
    str, _says(minLength=1, maxLength=100, pattern=NAME_PATTERN, description=_IN_NFC), AfterValidator(_name(100))
]
VideoName = Annotated[
    str, _says(minLength=1, maxLength=255, pattern=NAME_PATTERN, description=_IN_NFC), AfterValidator(_name(255))
]
Email = Annotated[
    str,
    Field(max_length=254, description="An e-mail address; unique in any case among the live users of the service."),
    _says(minLength=5, pattern=EMAIL_PATTERN),
    AfterValidator(_email),
]
Password = Annotated[
    str,
    Field(description="At least 8 characters and at most 72 bytes in UTF-8, both measured in Unicode's form NFC."),
    _says(format="password", minLength=MIN_CHARACTERS, maxLength=MAX_BYTES, pattern=r"^[^\u0000]*$"),
    AfterValidator(_password),
]
GivenEmail = Annotated[
    str,
    Field(min_length=1, max_length=254, description="In any case."),
    _says(pattern=TEXT_PATTERN),
    AfterValidator(_line),
]
GivenPassword = Annotated[str, Field(min_length=1, max_length=1024), _says(format="password")]
FilePath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=paths.MAX_BYTES,
        description=f"A path within the corporation's folder of the bucket, at most {paths.MAX_BYTES} bytes in UTF-8: "
        "relative, without empty parts, `.` and `..` between its slashes, not blank, no URL.",
    ),
    _says(pattern=paths.PATTERN),
    AfterValidator(paths.check),
]
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    Field(description="RFC 3339, of the years 1000 to 9999. Without an offset it is taken as UTC."),
    _says(pattern="^[1-9]"),
]
Token = Annotated[str, Field(min_length=1, max_length=4096)]
BodyId = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=FIRST)]
Zero = Annotated[int, BeforeValidator(whole_number), Field(ge=0, le=0)]

PathId = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=FIRST), Path()]
PathText = Annotated[
    str, BeforeValidator(_decoded), AfterValidator(_line), _says(minLength=1, pattern=TEXT_PATTERN), Path()
]
Limit = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=100), Query(description="How many items at most.")]
Cursor = Annotated[
    str | None,
    _says(minLength=1),
    Query(description="The `next_cursor` of the page before. It is opaque; any other text is refused with 422."),
]
Deleted = Annotated[bool, Query(description="List the deleted ones instead. For admins: 403 to a guest.")]
Search = Annotated[
    str | None,
    AfterValidator(lambda text: None if text is None else _searched(text)),
    _says(minLength=1, maxLength=255, pattern=TEXT_PATTERN),
    Query(max_length=255, description="Only those with this in their name, in any case."),
]


class Body(BaseModel):
    """A request body: fields that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")


# The default of a field that a change may leave out: it is not null, which a caller may send only where the field's
# type has it.
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
