"""What a GET or HEAD of an object must answer, by RFC 9110 alone: an oracle over byte slices, apart from `vms.ranges`.

It reads headers by the grammar of section 14 with code of its own, and cuts the answer out of the object's bytes.
`requests` makes random requests whose validators, dates and numbers lie on and beside the borders.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

type Headers = dict[str, str]


@dataclass(frozen=True)
class Object:
    """An object in the store, as HEAD describes it."""

    body: bytes
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Expected:
    """The status, the bytes, and for 206 and 416 the Content-Range."""

    status: int
    body: bytes = b""
    content_range: str | None = None


def answer(found: Object, headers: Headers) -> Expected:
    """Section 13.2.2, step by step; of several ranges the first satisfiable one, as section 14.2 lets a server do."""
    if status := _precondition(found, headers):
        return Expected(status)
    asked = _ranges(headers.get("Range", ""))
    if asked is None or not _holds(headers.get("If-Range"), found):
        return Expected(200, found.body)
    size = len(found.body)
    for first, last in asked:
        start, stop = (
            (max(0, size - (last or 0)), size) if first is None else (first, size if last is None else last + 1)
        )
        if found.body[start:stop]:
            part = found.body[start:stop]
            return Expected(206, part, f"bytes {start}-{start + len(part) - 1}/{size}")
    return Expected(416, content_range=f"bytes */{size}")


def _precondition(found: Object, headers: Headers) -> int | None:
    """412 or 304, if a condition says so."""
    if "If-Match" in headers:
        if not _matches(headers["If-Match"], found.etag, strong=True):
            return 412
    elif (date := _date(headers.get("If-Unmodified-Since"))) and found.modified > date:
        return 412
    if "If-None-Match" in headers:
        if _matches(headers["If-None-Match"], found.etag, strong=False):
            return 304
    elif (date := _date(headers.get("If-Modified-Since"))) and found.modified <= date:
        return 304
    return None


def _matches(field: str, etag: str, *, strong: bool) -> bool:
    if field.strip() == "*":
        return True
    members = [member.strip(" \t") for member in field.split(",")]  # the tags of these tests have no comma
    if not all(re.fullmatch(r'(W/)?"[^" ]*"|', member) for member in members):
        return False
    return etag in members or (not strong and f"W/{etag}" in members)


def _ranges(field: str) -> list[tuple[int | None, int | None]] | None:
    """Pairs of first and last; a first of None makes the last a suffix's length. None: there is no valid range set."""
    found = re.fullmatch(r"bytes=(.*)", field.strip(), re.IGNORECASE)
    members = [member.strip(" \t") for member in found[1].split(",")] if found else []
    pairs: list[tuple[int | None, int | None]] = []
    for member in filter(None, members):
        numbers = re.fullmatch(r"([0-9]*)-([0-9]*)", member)
        if numbers is None or member == "-":
            return None
        first, last = (int(digits) if digits else None for digits in numbers.groups())
        if first is not None and last is not None and last < first:
            return None
        pairs.append((first, last))
    return pairs or None


def _holds(field: str | None, found: Object) -> bool:
    """Section 13.1.5; the objects of these tests are old enough for their date to be a strong validator."""
    return field is None or field.strip() == found.etag or _date(field) == found.modified


def _date(field: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(field) if field else None
    except ValueError:
        return None


def requests(seed: int, objects: list[Object], count: int) -> Iterator[tuple[int, Headers]]:
    """So many random requests: an index into `objects`, and header fields."""
    chance = random.Random(seed)
    for _ in range(count):
        index = chance.randrange(len(objects))
        found = objects[index]
        headers: Headers = {}
        if chance.random() < 0.8:
            headers["Range"] = _any_range(chance, len(found.body))
        for name in ("If-Match", "If-None-Match"):
            if chance.random() < 0.15:
                headers[name] = _any_tags(chance, found.etag)
        for name in ("If-Unmodified-Since", "If-Modified-Since"):
            if chance.random() < 0.15:
                headers[name] = _any_date(chance, found.modified)
        if chance.random() < 0.2:
            headers["If-Range"] = chance.choice([_any_tag(chance, found.etag), _any_date(chance, found.modified)])
        yield index, headers


def _any_range(chance: random.Random, size: int) -> str:
    def number() -> str:
        value = chance.choice([0, 1, size - 2, size - 1, size, size + 1, 2**63 - 1, 10**30, chance.randrange(size + 2)])
        return "0" * chance.choice([0, 0, 0, 3]) + str(max(0, value))

    def member() -> str:
        forms = [f"{number()}-{number()}", f"{number()}-", f"-{number()}"]
        invalid = ["", " ", "-", "a-b", f"{number()}", "1-2-3", "--1", "+1-2", "1 - 2", "0x1-2", "1_0-20", "abc"]
        return chance.choice(forms if chance.random() < 0.9 else invalid)

    unit = chance.choice(["bytes="] * 8 + ["BYTES=", "bytes", "items=", "bytes =", ""])
    members = [member() for _ in range(chance.choice([1, 1, 1, 1, 2, 3]))]
    return (unit + chance.choice([",", ", ", " ,\t"]).join(members)).strip()  # a client sends no blanks around a value


def _any_tag(chance: random.Random, etag: str) -> str:
    return chance.choice([etag, etag, f"W/{etag}", '"other"', 'W/"other"', etag.strip('"'), etag.upper(), '""', "*"])


def _any_tags(chance: random.Random, etag: str) -> str:
    return chance.choice([", ", ","]).join(_any_tag(chance, etag) for _ in range(chance.choice([1, 1, 2, 3])))


def _any_date(chance: random.Random, modified: datetime) -> str:
    date = modified + timedelta(seconds=chance.choice([-86_400, -1, 0, 0, 1, 86_400]))
    return chance.choice(
        [
            format_datetime(date, usegmt=True),
            format_datetime(date, usegmt=True),
            date.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
            "yesterday",
            "0",
        ]
    )
