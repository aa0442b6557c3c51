"""What an image is, by its bytes: WebP (RFC 9649) or JPEG (ITU-T T.81), whole, and nothing after it.

The parts of the file are walked to its end, so that a file that is also something else, such as a page behind an image,
is refused. The pixels are not decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

type ImageType = Literal["image/webp", "image/jpeg"]

MOST_PIXELS_A_SIDE = 4096
# RFC 9649 section 2.7: what a WebP file may consist of; a frame of an animation has no further frames in it.
_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
_WEBP_PICTURES = {b"VP8 ", b"VP8L", b"ANMF"}
_WEBP_FIRST = {b"VP8 ", b"VP8L", b"VP8X"}
_FRAME_CHUNKS = {b"ALPH", b"VP8 ", b"VP8L"}
_BROKEN_WEBP = "is not a whole WebP file, or has something besides"
# T.81 table B.1: the start of a frame, but for the codes that mean something else; markers without a length.
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_RESTARTS = set(range(0xD0, 0xD8))
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


@dataclass(frozen=True, slots=True)
class Image:
    """Its media type, and its size in pixels."""

    type: ImageType
    width: int
    height: int


def read(data: bytes) -> Image:
    """What these bytes are. Raises `ValueError`, whose text is for the caller."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = Image("image/webp", *_webp(data))
    elif data[:2] == b"\xff\xd8":
        found = Image("image/jpeg", *_jpeg(data))
    else:
        raise ValueError("must be a WebP or JPEG image, sent as image/webp or image/jpeg")
    if not (1 <= found.width <= MOST_PIXELS_A_SIDE and 1 <= found.height <= MOST_PIXELS_A_SIDE):
        raise ValueError(f"must have 1 to {MOST_PIXELS_A_SIDE} pixels a side")
    return found


def _webp(data: bytes) -> tuple[int, int]:
    chunks = _chunks(data, 12, _WEBP_CHUNKS)
    sizes = list(_sizes(chunks))
    if _little(data, 4, 4) != len(data) - 8 or not chunks or chunks[0][0] not in _WEBP_FIRST:
        raise ValueError(_BROKEN_WEBP)
    # The first is the canvas. A decoder that does not look at it could be given a picture of a billion pixels.
    if not {name for name, _ in chunks} & _WEBP_PICTURES or not _within(sizes):
        raise ValueError(_BROKEN_WEBP)
    return sizes[0]


def _chunks(data: bytes, place: int, allowed: set[bytes]) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk from this place on, to the end (section 2.3)."""
    chunks: list[tuple[bytes, bytes]] = []
    while place < len(data):
        length = _little(data, place + 4, 4)
        end = place + 8 + length
        chunks.append((data[place : place + 4], data[place + 8 : end]))
        place = end + length % 2
    if place != len(data) or not {name for name, _ in chunks} <= allowed:
        raise ValueError(_BROKEN_WEBP)
    return chunks


def _within(sizes: list[tuple[int, int]]) -> bool:
    return all(width <= sizes[0][0] and height <= sizes[0][1] for width, height in sizes)


def _sizes(chunks: list[tuple[bytes, bytes]]) -> Iterator[tuple[int, int]]:
    """The pixels of the canvas, if there is one, and of each picture and frame."""
    for name, content in chunks:
        match name:
            case b"VP8X" if len(content) == 10:
                yield _little(content, 4, 3) + 1, _little(content, 7, 3) + 1
            case b"VP8L" if len(content) > 5 and content[0] == 0x2F:
                bits = _little(content, 1, 4)
                yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            case b"VP8 " if len(content) > 10 and content[3:6] == b"\x9d\x01\x2a":
                yield _little(content, 6, 2) & 0x3FFF, _little(content, 8, 2) & 0x3FFF
            case b"ANMF" if len(content) > 16:
                yield _little(content, 6, 3) + 1, _little(content, 9, 3) + 1
                yield from _sizes(_chunks(content, 16, _FRAME_CHUNKS))
            case b"VP8X" | b"VP8L" | b"VP8 " | b"ANMF":
                raise ValueError(_BROKEN_WEBP)


def _little(data: bytes, start: int, length: int) -> int:
    return int.from_bytes(data[start : start + length], "little")


def _jpeg(data: bytes) -> tuple[int, int]:
    broken = ValueError("is not a whole JPEG file, or has something besides")
    size: tuple[int, int] | None = None
    scanned = False
    place = 2
    while place + 1 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _EOI and place + 2 == len(data) and size is not None and scanned:
            return size
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker < 0xC0 or marker in {_SOI, _EOI, 0xFF} or marker in _JPEG_RESTARTS or length < 2:
            break
        if marker in _JPEG_FRAMES:
            if size is not None:
                break  # a decoder takes one of the two sizes, and not all take the same
            height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            size = width, height
        place += 2 + length
        if marker == _SOS:
            scanned = True
            place = _end_of_scan(data, place)
    raise broken


def _end_of_scan(data: bytes, place: int) -> int:
    """Where the marker after the entropy-coded data is: the first 0xFF that is neither stuffing nor a restart."""
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        if data[place + 1] != 0 and data[place + 1] not in _JPEG_RESTARTS:
            return place
        place += 2
    return len(data)
