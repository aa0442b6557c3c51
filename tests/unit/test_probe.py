"""What is read of a film, by how many reads; and that a file of a stranger's leads the reader nowhere else."""

import io
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.environment import of_child
from vms import film_reader, probe
from vms.errors import NotAVideo, StorageFailed

DATA = Path(__file__).parents[1] / "data"
FILM = (DATA / "colours.mp4").read_bytes()
GIB = 1024**3
# What ffmpeg can make: how, what it is then, and what keeps browsers from playing it.
KINDS = {
    "film.mov": (("-c", "copy"), "video/quicktime", None),
    "film.mkv": (("-c", "copy"), "video/x-matroska", "Matroska"),
    "film.ts": (("-c", "copy"), "video/mp2t", "MPEG-TS"),
    "film.webm": (("-c:v", "libvpx", "-c:a", "libopus", "-t", "1"), "video/webm", None),
    "mpeg4.avi": (("-c:v", "mpeg4", "-c:a", "copy", "-t", "1"), "video/x-msvideo", "MPEG-4 Visual"),
    "ac3.mp4": (("-c:v", "copy", "-c:a", "ac3", "-t", "1"), "video/mp4", "AC-3"),
    "deep.mp4": (("-pix_fmt", "yuv444p", "-t", "1"), "video/mp4", "AVC 8 bit 4:4:4"),
    "fragmented.mp4": (("-c", "copy", "-movflags", "+frag_keyframe+empty_moov"), "video/mp4", None),
    "last.mp4": (("-c", "copy", "-metadata", 'title=a"b\\c<>\x01&'), "video/mp4", None),
}


def read(body: bytes) -> probe.Film:
    return probe.probe(len(body), lambda start, size: body[start : start + size])


def made(directory: Path, name: str) -> bytes:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    command = ["ffmpeg", "-v", "error", "-i", str(DATA / "colours.mp4"), *KINDS[name][0], str(directory / name)]
    subprocess.run(command, env=of_child(), stdin=subprocess.DEVNULL, timeout=120, check=True)
    return (directory / name).read_bytes()


def test_a_film_is_what_its_container_says() -> None:
    assert read(FILM) == probe.Film("video/mp4", 12.0, 480, 270, browser_playable=True, detail=None)


@pytest.mark.parametrize("name", KINDS)
def test_containers_and_codecs_are_told_apart(tmp_path: Path, name: str) -> None:
    found = read(made(tmp_path, name))
    assert (found.content_type, found.detail) == KINDS[name][1:]
    assert found.browser_playable is (found.detail is None)
    assert (found.width, found.height) == (480, 270)
    assert found.duration


def test_the_index_at_the_end_of_2_gb_takes_a_few_reads() -> None:
    """The film with its index behind 2 GiB of nothing (ISO/IEC 14496-12, `moov` and `free`)."""
    boxes: dict[bytes, bytes] = {}
    rest = io.BytesIO(FILM)
    while head := rest.read(8):
        size, kind = struct.unpack(">I4s", head)
        boxes[kind] = head + rest.read(size - 8)
    start = boxes[b"ftyp"] + boxes[b"mdat"] + struct.pack(">I4sQ", 1, b"free", 2 * GIB)
    index, end = boxes[b"moov"], len(boxes[b"ftyp"] + boxes[b"mdat"]) + 2 * GIB
    asked: list[int] = []

    def part(first: int, size: int) -> bytes:
        asked.append(size)
        before = start[first : first + size]
        nothing = bytes(max(min(end, first + size) - max(first, len(start)), 0))
        after = index[max(first - end, 0) : max(first + size - end, 0)]
        return (before + nothing + after)[:size]

    found = probe.probe(end + len(index), part)
    assert (found.duration, found.width) == (12.0, 480)
    assert len(asked) <= 10
    assert sum(asked) <= 640 * 1024


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"text " * 1000, bytes(100_000), FILM[:40], b"\x89PNG\r\n\x1a\n" + bytes(100), b"GIF89a" + bytes(99)],
)
def test_what_is_no_film_is_refused(body: bytes) -> None:
    with pytest.raises(NotAVideo):
        read(body)


def test_what_takes_too_many_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_READS", 3)
    with pytest.raises(NotAVideo):
        read(b"\xa5\x17\x33" * 100_000)


def test_a_film_of_more_fragments_than_reads_is_known_but_for_its_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = made(tmp_path, "fragmented.mp4")
    monkeypatch.setattr(probe, "MAX_READS", 3)
    assert read(body) == probe.Film("video/mp4", None, 480, 270, browser_playable=True, detail=None)


def element(ident: str, body: bytes) -> bytes:
    """An element of Matroska (RFC 8794), its size in four bytes."""
    return bytes.fromhex(ident) + struct.pack(">I", 1 << 28 | len(body)) + body


def matroska(width: int = 640, milliseconds: float = 2000.0, codec: bytes = b"V_VP8") -> bytes:
    """A film of one track that says this of itself (RFC 9559)."""
    pictures = element("E0", element("B0", width.to_bytes(8)) + element("BA", b"\x01\xe0"))
    track = element("D7", b"\1") + element("73C5", b"\1") + element("83", b"\1") + element("86", codec) + pictures
    about = element("2AD7B1", b"\x0f\x42\x40") + element("4489", struct.pack(">d", milliseconds))
    frames = element("1F43B675", element("E7", b"\0") + element("A3", b"\x81\0\0\x80" + bytes(100)))
    parts = element("1549A966", about) + element("1654AE6B", element("AE", track)) + frames
    return element("1A45DFA3", element("4282", b"matroska")) + element("18538067", parts)


@pytest.mark.parametrize(
    ("body", "duration", "width", "detail"),
    [
        (matroska(), 2.0, 640, "Matroska"),
        (matroska(width=65_536), 2.0, 65_536, "Matroska"),
        (matroska(width=65_537), 2.0, None, "Matroska"),
        (matroska(width=2**31), 2.0, None, "Matroska"),
        (matroska(width=2**63), 2.0, None, "Matroska"),
        (matroska(width=0), 2.0, None, "Matroska"),
        (matroska(milliseconds=-2000.0), None, 640, "Matroska"),
        (matroska(milliseconds=1e300), None, 640, "Matroska"),
        (matroska(milliseconds=float("nan")), None, 640, "Matroska"),
        (matroska(milliseconds=float("inf")), None, 640, "Matroska"),
        (matroska(codec=b"V_ODD"), 2.0, 640, "V_ODD"),
        (matroska(codec=b"V_\x01\x02"), 2.0, 640, "unknown codec"),
        (matroska(codec=b"V_\xed\xa0\x80"), 2.0, 640, "unknown codec"),
        (matroska(codec=b"V_\xe2\x80\xae"), 2.0, 640, "unknown codec"),
        (matroska(codec=b"V_" + b"A" * 100_000), 2.0, 640, "unknown codec"),
    ],
)
def test_what_a_film_says_of_itself_is_told_as_far_as_it_can_be(
    body: bytes, duration: float | None, width: int | None, detail: str
) -> None:
    found = read(body)
    assert (found.duration, found.width, found.detail) == (duration, width, detail)


def test_an_index_that_unpacks_into_more_than_there_is_memory_is_refused() -> None:
    """A compressed movie box (QuickTime File Format, "Compressed Movie Resources") of zeros."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I4s", len(body) + 8, kind) + body

    size = film_reader.MEMORY_BYTES
    packed = box(b"cmvd", struct.pack(">I", size), zlib.compress(bytes(size), 1))
    with pytest.raises(NotAVideo):
        read(box(b"ftyp", b"qt  " + bytes(4)) + box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), packed)))


def test_the_reader_has_room_beside_its_function() -> None:
    """150 MB is what the function takes itself; `Globals` of the template gives it its memory."""
    template = (DATA.parents[1] / "template.yaml").read_text()
    found = re.search(r"^    MemorySize: (\d+)", template, re.MULTILINE)
    assert found is not None
    assert int(found[1]) * 1024**2 >= film_reader.MEMORY_BYTES + 150 * 1024**2


def test_a_failure_of_the_storage_is_no_verdict_about_the_film() -> None:
    def fail(_start: int, _size: int) -> bytes:
        raise StorageFailed

    with pytest.raises(StorageFailed):
        probe.probe(1000, fail)


def test_a_reader_that_does_not_start_is_no_verdict_about_the_film(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "reader.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(film_reader, "__file__", str(broken))
    with pytest.raises(RuntimeError):
        read(FILM)


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
MANIFEST = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="x"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" codecs="avc1"><BaseURL>{}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>"
)


@pytest.mark.parametrize("text", [PLAYLIST, MANIFEST])
def test_a_file_that_refers_to_others_leads_nowhere(text: str) -> None:
    with pytest.raises(NotAVideo):
        read(text.format(DATA / "colours.mp4").encode())
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(NotAVideo):
            read(text.format(f"http://127.0.0.1:{server.getsockname()[1]}/film.mp4").encode())
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_reader_can_open_nothing_and_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its place, with its bounds, a report of what it can do."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code = """
import json, os, socket, sys
sys.argv = ["", "5", "5"]
from vms import film_reader
from pymediainfo import MediaInfo
def tries(**_):
    done = []
    for act in (lambda: open("/etc/passwd"), socket.socket, os.pipe, lambda: os.open("/", 0)):
        try: act(); done.append("opened")
        except OSError: done.append("refused")
    return json.dumps(done)
MediaInfo.parse = lambda *_, **more: tries(**more)
print(film_reader.report(film_reader.Asked(5, 5)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=of_child(), check=True, timeout=60)
    assert json.loads(done.stdout.removeprefix(film_reader.READY)) == ["refused"] * 4
    environments: list[dict[str, str]] = []
    started = subprocess.Popen

    def start(*arguments: object, env: dict[str, str], **more: object) -> object:
        environments.append(env)
        return started(*arguments, env=env, **more)  # type: ignore[call-overload]  # what the caller gave

    monkeypatch.setattr(subprocess, "Popen", start)
    read(FILM)
    assert [set(each) for each in environments] == [{"PYTHONPATH"}]
