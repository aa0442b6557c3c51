"""Senders of films: plain HTTP clients that do what an uploader of the web does, and films that fill several parts."""

import math
import struct
from collections.abc import Iterable
from typing import Any

import httpx

from tests.e2e.clients import Person, expect
from tests.e2e.films import FILM

MIB = 1024 * 1024


def padded(size: int, film: bytes = FILM) -> bytes:
    """The film with a box of nothing at its end, so that it has so many bytes and still plays (ISO/IEC 14496-12)."""
    room = size - len(film)
    assert room >= 8
    return film + struct.pack(">I4s", room, b"free") + bytes(room - 8)


def begin(sender: Person, size: int, **more: object) -> dict[str, Any]:
    body = {"file_name": "film.mp4", "size": size, **more}
    made: dict[str, Any] = expect(sender.call("POST", "/v1/uploads", body), 201)
    return made


def part(upload: dict[str, Any], body: bytes, number: int) -> bytes:
    """The bytes of this part."""
    start = (number - 1) * int(upload["part_size"])
    return body[start : start + int(upload["part_size"])]


def urls(sender: Person, upload: dict[str, Any], numbers: Iterable[int]) -> dict[int, str]:
    signed = expect(sender.call("POST", f"/v1/uploads/{upload['id']}/parts", {"numbers": list(numbers)}), 200)
    return {each["number"]: each["url"] for each in signed}


def send(sender: Person, upload: dict[str, Any], body: bytes, numbers: Iterable[int] | None = None) -> None:
    """PUT these parts, or all, as a browser does: the URL and the bytes, nothing else."""
    wanted = list(numbers or range(1, upload["part_count"] + 1))
    assert upload["part_count"] == math.ceil(len(body) / upload["part_size"])
    with httpx.Client(timeout=60, trust_env=False) as s3:
        for number, url in urls(sender, upload, wanted).items():
            answer = s3.put(url, content=part(upload, body, number))
            assert (answer.status_code, bool(answer.headers["ETag"])) == (200, True), answer.text


def complete(sender: Person, upload: dict[str, Any]) -> httpx.Response:
    return sender.call("POST", f"/v1/uploads/{upload['id']}/complete")


def sent(sender: Person, body: bytes, **more: object) -> dict[str, Any]:
    """An upload with all of its parts in S3."""
    upload = begin(sender, len(body), **more)
    send(sender, upload, body)
    return upload


def film_of(sender: Person, body: bytes, **more: object) -> dict[str, Any]:
    """The video of an uploaded film."""
    video: dict[str, Any] = expect(complete(sender, sent(sender, body, **more)), 201)
    return video
