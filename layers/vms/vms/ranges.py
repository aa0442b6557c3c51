"""Range requests and conditional requests (RFC 9110 sections 13 and 14), as pure functions of headers and of the object's state."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from re import compile as regex

_RANGE = regex(r"(?i:bytes)=[ \t,]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*(?:,.*)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Range header asks for: from `start` to `end` inclusive (None: to the end), or the last `suffix` bytes."""

    start: int = 0
    end: int | None = None
    suffix: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an object: its first and its last byte, inclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Its bytes."""
        return self.end - self.start + 1


def parse(header: str | None) -> Wanted | None:
    """Read a Range header. None means to ignore it: there is none, or it is malformed (section 14.2).

    Of several ranges the first one alone is honoured, as section 14.2 allows.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return Wanted(suffix=int(suffix))
    if last and int(last) < int(first):
        return None  # invalid, not unsatisfiable (section 14.1.1)
    return Wanted(int(first), int(last) if last else None)


def resolve(wanted: Wanted, size: int, most: int) -> Span | None:
    """The part to answer with, at most `most` bytes of it (a shorter part is allowed, section 15.3.7); None: unsatisfiable."""
    if wanted.suffix is not None:
        start, end = max(0, size - wanted.suffix), size - 1
    else:
        start, end = wanted.start, size - 1 if wanted.end is None else min(wanted.end, size - 1)
    if start >= size:
        return None
    return Span(start, min(end, start + most - 1))


def ask(wanted: Wanted, most: int) -> str | None:
    """The Range header to send to the store, whose size is not known yet; None when it must be known first."""
    if wanted.suffix is not None:
        return f"bytes=-{wanted.suffix}" if 0 < wanted.suffix <= most else None
    last = wanted.start + most - 1
    return f"bytes={wanted.start}-{last if wanted.end is None else min(wanted.end, last)}"


def not_modified(if_none_match: str | None, if_modified_since: str | None, etag: str, last_modified: str) -> bool:
    """Whether to answer 304: If-None-Match by weak comparison (section 13.1.2), else If-Modified-Since (section 13.1.3)."""
    if if_none_match is not None:
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or (etag != "" and etag.removeprefix("W/") in tags)
    since, modified = _seconds(if_modified_since), _seconds(last_modified)
    return since is not None and modified is not None and modified <= since


def range_still_holds(if_range: str | None, etag: str, last_modified: str) -> bool:
    """Whether an If-Range, if any, lets the range be honoured: strong comparison, or the exact date (section 13.1.5)."""
    if if_range is None:
        return True
    value = if_range.strip()
    if value.startswith(('"', "W/")):
        return value == etag and not etag.startswith("W/")
    given = _seconds(value)
    return given is not None and given == _seconds(last_modified)


def _seconds(date: str | None) -> float | None:
    """An HTTP date as seconds since 1970, whole ones. One that names no zone, as in C's asctime, is in UTC (section 5.6.7)."""
    if not date:
        return None
    try:
        found = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
