"""What is a WebP or JPEG image by its bytes, and what is refused."""

import base64
import contextlib
import io
import struct
import traceback

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.clients import PIXEL
from vms import images
from vms.images import Image

# 1 x 1 pixel, lossy.
LOSSY = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")


def picture(codec: str, width: int, height: int, **options: str) -> bytes:
    """A picture as an encoder of this machine makes it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mjpeg" if codec == "mjpeg" else "webp") as container:
        stream = container.add_stream(codec, rate=1, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(width, height, "rgb24")), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


JPEG = picture("mjpeg", 64, 36)
needs_webp = pytest.mark.skipif("libwebp" not in av.codecs_available, reason="this PyAV encodes no WebP")


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def extended(width: int, height: int) -> bytes:
    header = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(chunk(b"VP8X", header), PIXEL[12:])


# The largest that VP8L has: 16384 x 16384.
LARGE = chunk(b"VP8L", b"\x2f" + struct.pack("<I", 16383 | 16383 << 14) + bytes(10))


def animated(width: int, height: int, frame: bytes) -> bytes:
    """An animation of one frame of this size on a canvas of one pixel."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = chunk(b"VP8X", b"\x02" + bytes(9)) + chunk(b"ANIM", bytes(6))
    return webp(head, chunk(b"ANMF", bytes(6) + size + bytes(4) + frame))


def nested(depth: int) -> bytes:
    """A frame within a frame within a frame, so often; no file may have that."""
    frame = PIXEL[12:]
    for _ in range(depth):
        frame = chunk(b"ANMF", bytes(16) + frame)
    return frame


def with_frames(whole: bytes, *sides: int) -> bytes:
    """The JPEG with headers of square frames of these sizes in place of its own."""
    start = whole.index(b"\xff\xc0")
    end = start + 2 + int.from_bytes(whole[start + 2 : start + 4], "big")
    header = whole[start:end]
    frames = [header[:5] + 2 * side.to_bytes(2, "big") + header[9:] for side in sides]
    return whole[:start] + b"".join(frames) + whole[end:]


def test_the_type_and_the_size_are_in_the_bytes() -> None:
    assert images.read(PIXEL) == Image("image/webp", 1, 1)
    assert images.read(LOSSY) == Image("image/webp", 1, 1)
    assert images.read(extended(640, 360)) == Image("image/webp", 640, 360)
    assert images.read(JPEG) == Image("image/jpeg", 64, 36)
    assert images.read(with_frames(JPEG, 4096)) == Image("image/jpeg", 4096, 4096)
    assert images.read(animated(1, 1, PIXEL[12:])) == Image("image/webp", 1, 1)


@needs_webp
@pytest.mark.parametrize("lossless", ["0", "1"])
def test_what_an_encoder_makes_is_taken(lossless: str) -> None:
    assert images.read(picture("libwebp", 640, 360, lossless=lossless)) == Image("image/webp", 640, 360)


@pytest.mark.parametrize("whole", [PIXEL, LOSSY, extended(5, 7), JPEG], ids=["lossless", "lossy", "extended", "jpeg"])
def test_a_part_of_an_image_and_an_image_with_something_behind_it_are_refused(whole: bytes) -> None:
    for end in range(len(whole)):
        with pytest.raises(ValueError, match=r"must be|is not"):
            images.read(whole[:end])
    for more in (b"\0", b"<script>alert(1)</script>", whole):
        with pytest.raises(ValueError, match="is not a whole"):
            images.read(whole + more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + bytes(20),
        b"\x89PNG\r\n\x1a\n" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        webp(),
        webp(chunk(b"VP8X", bytes(10))),  # no picture in it
        webp(chunk(b"EVIL", b"<script>"), PIXEL[12:]),
        webp(PIXEL[12:], chunk(b"JUNK", b"<script>")),
        b"RIFF" + struct.pack("<I", 4) + b"WAVE",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00\xff\xd9",  # no scan
        b"\xff\xd8\xff\xfe\x00\x00\xff\xd9",
        extended(4097, 1),
        extended(1, 4097),
        webp(LARGE),
        webp(chunk(b"VP8X", bytes(10)), LARGE),  # a canvas of one pixel
        webp(PIXEL[12:], LARGE),
        animated(2, 1, PIXEL[12:]),
        animated(1, 1, LARGE),
        animated(1, 1, PIXEL[12:-1]),
        animated(1, 1, nested(1)),
        animated(1, 1, nested(2000)),
        with_frames(JPEG, 60_000, 64),
        with_frames(JPEG, 64, 60_000),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"must|is not"):
        images.read(data)


def test_a_refusal_keeps_nothing_of_what_was_refused() -> None:
    def depth(data: bytes) -> int:
        with pytest.raises(ValueError, match="is not a whole") as refused:
            images.read(data)
        return len(list(traceback.walk_tb(refused.value.__traceback__)))

    for data in (PIXEL[:-1], JPEG[:-1]):
        assert len({depth(data) for _ in range(3)}) == 1


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"RIFF", JPEG[:40], PIXEL[:20]]))
def test_no_bytes_make_another_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(ValueError):
        images.read(start + data)
