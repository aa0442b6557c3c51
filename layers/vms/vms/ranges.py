"""Range and conditional requests (RFC 9110 sections 13 and 14), as pure functions of headers and of the object.

`select` decides what to answer to GET and HEAD; `ask` says what to ask the store for before the object's size is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from re import compile as regex

from vms.representation import Representation, Span

_SPEC = regex(r"([0-9]+)-([0-9]*)|-([0-9]+)")
_TAGS = regex(r'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")[ \t]*(?=,|$)')
# Above every offset of an S3 object; a longer number means the same.
_BEYOND = 10**18
# A date within so many seconds of now does not tell two versions apart, so it is not a strong validator (section
# 8.8.2.2).
_STRONG_AFTER = 2.0
_CONDITIONS = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "if-range")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Range header asks for: from `start` to `end` inclusive (None: to the end), or the last `suffix` bytes."""

    start: int = 0
    end: int | None = None
    suffix: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The status to answer with, and the bytes: None for 304, 412, 413 and 416."""

    status: int
    span: Span | None = None


def select(headers: Mapping[str, str], found: Representation, slice_: int, whole: int, now: float) -> Selection:
    """Decide the answer to a GET or HEAD with these headers (lower-case names), in the order of section 13.2.2.

    A range is answered by at most `slice_` bytes, and without one an object of more than `whole` bytes by 413; 0 stands
    for no limit. `now` is in seconds since 1970. Of several ranges the first that the object can satisfy is honoured,
    as section 14.2 allows.
    """
    if not _unchanged(headers.get("if-match"), headers.get("if-unmodified-since"), found):
        return Selection(412)
    if not_modified(headers.get("if-none-match"), headers.get("if-modified-since"), found.etag, found.last_modified):
        return Selection(304)
    wanted = parse(headers.get("range"))
    if wanted and range_still_holds(headers.get("if-range"), found.etag, found.last_modified, now):
        spans = (resolve(one, found.size, slice_) for one in wanted)
        span = next((span for span in spans if span), None)
        return Selection(206, span) if span else Selection(416)
    if whole and found.size > whole:
        return Selection(413)
    return Selection(200, Span(0, found.size - 1))


def ask(headers: Mapping[str, str], slice_: int) -> tuple[bool, str | None]:
    """Whether the object's bytes may be asked for at once, and if so the Range header for the store (None: all of it).

    If not, its validators or its size must be known first: there is a condition, or a suffix longer than a slice.
    """
    if any(name in headers for name in _CONDITIONS):
        return False, None
    wanted = parse(headers.get("range"))
    if not wanted:
        return True, None
    first = wanted[0]
    if first.suffix is not None:
        return 0 < first.suffix <= (slice_ or _BEYOND), f"bytes=-{first.suffix}"
    last = first.start + slice_ - 1 if slice_ else None
    ends = [end for end in (first.end, last) if end is not None]
    return True, f"bytes={first.start}-{min(ends) if ends else ''}"


def parse(header: str | None) -> tuple[Wanted, ...]:
    """Read a Range header. Empty means to ignore it: there is none, or a member of it is invalid (section 14.2)."""
    unit, equals, members = (header or "").strip().partition("=")
    if not equals or unit.lower() != "bytes":
        return ()
    wanted = []
    for member in members.split(","):
        text = member.strip(" \t")
        if not text:
            continue  # an empty element of a list is allowed (section 5.6.1)
        found = _SPEC.fullmatch(text)
        if found is None:
            return ()
        if found[1] and found[2] and _order(found[2]) < _order(found[1]):
            return ()  # invalid, not unsatisfiable (section 14.1.1)
        first, last, suffix = (_number(digits) for digits in found.groups())
        wanted.append(Wanted(first or 0, last, suffix))
    return tuple(wanted)


def resolve(wanted: Wanted, size: int, slice_: int) -> Span | None:
    """The part of an object of `size` bytes to send, at most `slice_` bytes (0: no limit); None: unsatisfiable."""
    if wanted.suffix is not None:
        start, end = max(0, size - wanted.suffix), size - 1
    else:
        start, end = wanted.start, size - 1 if wanted.end is None else min(wanted.end, size - 1)
    if start >= size:
        return None
    return Span(start, min(end, start + slice_ - 1) if slice_ else end)


def not_modified(if_none_match: str | None, if_modified_since: str | None, etag: str, last_modified: str) -> bool:
    """Whether to answer 304: If-None-Match, by weak comparison (section 13.1.2), else If-Modified-Since (13.1.3)."""
    if if_none_match is not None:
        if if_none_match.strip() == "*":
            return True
        return etag != "" and etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags(if_none_match)}
    since, modified = _seconds(if_modified_since), _seconds(last_modified)
    return since is not None and modified is not None and modified <= since


def range_still_holds(if_range: str | None, etag: str, last_modified: str, now: float) -> bool:
    """Whether If-Range, if there is one, allows the range: strong comparison, or the exact date (section 13.1.5)."""
    if if_range is None:
        return True
    value = if_range.strip()
    if value.startswith(('"', "W/")):
        return value == etag and not etag.startswith("W/")
    given = _seconds(value)
    return given is not None and given == _seconds(last_modified) and given <= now - _STRONG_AFTER


def _unchanged(if_match: str | None, if_unmodified_since: str | None, found: Representation) -> bool:
    """If-Match by strong comparison (section 13.1.1), else If-Unmodified-Since (section 13.1.4)."""
    if if_match is not None:
        return if_match.strip() == "*" or (not found.etag.startswith("W/") and found.etag in tags(if_match))
    since, modified = _seconds(if_unmodified_since), _seconds(found.last_modified)
    return since is None or modified is None or modified <= since


def tags(header: str) -> list[str]:
    """The entity tags of a list, in which `*` and whatever else is not a tag is ignored (section 8.8.3)."""
    listed, position = [], 0
    while found := _TAGS.match(header, position):
        listed.append(found[1])
        position = found.end()
    return listed if not header[position:].strip(" \t,") else []


def _order(digits: str) -> tuple[int, str]:
    """What sorts numbers of any length as numbers."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _number(digits: str | None) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= 18 else _BEYOND


def _seconds(date: str | None) -> float | None:
    """An HTTP date as seconds since 1970, whole ones.

    One that names no zone, as in C's asctime, is in UTC (section 5.6.7).
    """
    if not date:
        return None
    try:
        found = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
