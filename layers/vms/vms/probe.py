"""What a film is, read from its container by ranges: a few hundred KB of a file of any size.

MediaInfo reads the file by seeking, wherever its index is. It runs as a process of its own, which can open nothing
(`vms.film_reader`), and asks this one for the bytes.
"""

import io
import json
import math
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vms import film_reader
from vms.errors import NotAVideo

# Bytes of a read. A film's index takes a few reads, and one without an index, in fragments, a read for each of them.
# After so many, which S3 answers within the API's 29 seconds, the file seems to end: its duration stays unknown.
BLOCK = 64 * 1024
MAX_READS = 1024
# Blocks that are kept, because the same ones are asked for again.
KEPT = 16

# Bytes of MediaInfo's report, most of it what the file says in text: a film's has a few thousand.
MOST_REPORT = 16 * 1024 * 1024
type Track = Mapping[str, Any]

# MediaInfo's name of a container → media type. A browser plays the first three.
_CONTAINERS = {
    "MPEG-4": "video/mp4",
    "WebM": "video/webm",
    "QuickTime": "video/quicktime",
    "Matroska": "video/x-matroska",
    "AVI": "video/x-msvideo",
    "MPEG-TS": "video/mp2t",
    "BDAV": "video/mp2t",
    "MPEG-PS": "video/mpeg",
    "MPEG Video": "video/mpeg",
    "Flash Video": "video/x-flv",
    "Ogg": "video/ogg",
    "Windows Media": "video/x-ms-wmv",
}
_PLAYED = {"video/mp4", "video/webm", "video/quicktime"}
# What Chromium, Firefox and Safari all decode (https://developer.mozilla.org/docs/Web/Media/Guides/Formats).
_CODECS = {
    "Video": {"AVC", "VP8", "VP9", "AV1"},
    "Audio": {"AAC", "MPEG Audio", "Opus", "Vorbis", "FLAC"},
}
_FIRST = ("General", "Video")
# What a file may say of itself: pixels of a side (AV1 and HEVC have no more), a duration in seconds (a year), and
# characters of a codec's name. Beyond, it is unknown.
MOST_PIXELS = 65_536
MOST_SECONDS = 366 * 86_400
MOST_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Film:
    """What was read: duration in seconds, and the pictures' size in pixels as they are shown; None where unknown.

    `detail` names what keeps browsers from playing it, if they cannot.
    """

    content_type: str
    duration: float | None
    width: int | None
    height: int | None
    browser_playable: bool
    detail: str | None


def probe(size: int, read: Callable[[int, int], bytes]) -> Film:
    """Read what the film of so many bytes is; `read(start, length)` gives its bytes.

    Raises:
        NotAVideo: there is no video track in it, or parsing it takes too much or goes wrong.
        Problem: those of `read`.
    """
    blocks = _Blocks(size, read)
    tracks = _report(size, blocks).get("track", [])
    general, pictures = (next((track for track in tracks if track["@type"] == kind), None) for kind in _FIRST)
    if general is None or pictures is None or _container(general) not in _CONTAINERS:
        raise NotAVideo
    kind = _CONTAINERS[_container(general)]
    obstacle = _obstacle(kind, general, tracks)
    seconds = _size(general, "Duration", MOST_SECONDS) or _size(pictures, "Duration", MOST_SECONDS)
    if blocks.spent:
        seconds = None
    width, height = (_size(pictures, side, MOST_PIXELS) for side in ("Width", "Height"))
    if round(_number(pictures, "Rotation") or 0) % 180 == 90:
        width, height = height, width
    return Film(
        content_type=kind,
        duration=round(seconds or 0, 3) or None,
        width=round(width) if width else None,
        height=round(height) if height else None,
        browser_playable=obstacle is None,
        detail=obstacle,
    )


class _Blocks:
    """A file's bytes by blocks, of which the last ones are kept."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self.size, self.reads, self.spent = size, 0, False
        self._read = read
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def get(self, start: int, length: int) -> bytes:
        """So many bytes of one block; none once that would take too many reads. Raises what reading raises."""
        first = start // BLOCK * BLOCK
        if first not in self._kept:
            if self.reads == MAX_READS:
                self.spent = True
                return b""
            self.reads += 1
            self._kept[first] = self._read(first, min(BLOCK, self.size - first))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[first][start - first : start - first + length]


def _report(size: int, blocks: _Blocks) -> Any:
    """MediaInfo's report of the file.

    The process has no environment, so it knows no key and no address. -P: nothing is imported from this package's
    directory, which has modules with names of the standard library.
    """
    command = [sys.executable, "-B", "-P", film_reader.__file__, str(size), str(BLOCK)]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(  # noqa: S603 - this interpreter and a file of this package
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as reader:
        try:
            lines = io.BufferedReader(cast("io.FileIO", reader.stdout))
            if lines.readline() != film_reader.READY:
                raise RuntimeError("the process that reads films does not start")
            while line := lines.readline(MOST_REPORT):
                if line.startswith(b"{"):
                    return json.loads(line).get("media") or {}
                start, length = map(int, line.split())
                asked = cast("io.FileIO", reader.stdin)
                if piece := blocks.get(start, length):
                    asked.write(piece)
                else:
                    asked.close()
        except (BrokenPipeError, ValueError):
            raise NotAVideo from None
        finally:
            reader.kill()
    raise NotAVideo


def _text(track: Track, field: str) -> str | None:
    """What a field says; None where it says nothing that can be shown. The file's own text may be anything.

    MediaInfo gives text with control characters as an object with its base64.
    """
    said = track.get(field)
    return said if isinstance(said, str) and said.isprintable() and len(said) <= MOST_CHARACTERS else None


def _number(track: Track, field: str) -> float | None:
    try:
        number = float(_text(track, field) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _size(track: Track, field: str, most: float) -> float | None:
    """A number above 0 and up to `most`."""
    number = _number(track, field)
    return number if number is not None and 0 < number <= most else None


def _container(general: Track) -> str:
    profile, container = _text(general, "Format_Profile"), _text(general, "Format")
    return "QuickTime" if profile == "QuickTime" else container or "unknown container"


def _obstacle(kind: str, general: Track, tracks: Sequence[Track]) -> str | None:
    """What browsers lack for it; None if they play it."""
    for track in tracks:
        codec = _text(track, "Format") or "unknown codec"
        if codec not in _CODECS.get(track["@type"], {codec}):
            return codec
        if track["@type"] == "Video" and codec == "AVC":
            depth, colours = _text(track, "BitDepth") or "8", _text(track, "ChromaSubsampling") or "4:2:0"
            if (depth, colours) != ("8", "4:2:0"):
                return f"AVC {depth} bit {colours}"
    return None if kind in _PLAYED else _container(general)
