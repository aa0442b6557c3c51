"""What a film is, read from its container by ranges: a few hundred KB of a file of any size.

MediaInfo reads the file by seeking, wherever its index is. It runs as a process of its own, which can open nothing
(`vms.film_reader`), and asks this one for the bytes.
"""

import io
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vms import film_reader
from vms.errors import NotAVideo

# Bytes of a read. So many reads at most: a film's index takes a few, and what takes more is no film.
BLOCK = 64 * 1024
MAX_READS = 512
# Blocks that are kept, because the same ones are asked for again.
KEPT = 16

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
        NotAVideo: there is no video track in it, or reading it takes too much or goes wrong.
        Problem: those of `read`.
    """
    tracks = _report(size, _Blocks(size, read)).get("track", [])
    general, pictures = (next((track for track in tracks if track["@type"] == kind), None) for kind in _FIRST)
    if general is None or pictures is None or _container(general) not in _CONTAINERS:
        raise NotAVideo
    kind = _CONTAINERS[_container(general)]
    obstacle = _obstacle(kind, general, tracks)
    seconds = _number(general.get("Duration")) or _number(pictures.get("Duration"))
    width, height = (_number(pictures.get(side)) for side in ("Width", "Height"))
    if round(_number(pictures.get("Rotation")) or 0) % 180 == 90:
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
        self.size, self.reads = size, 0
        self._read = read
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def get(self, start: int, length: int) -> bytes:
        """So many bytes of one block. Raises `NotAVideo` after too many reads, and what reading raises."""
        first = start // BLOCK * BLOCK
        if first not in self._kept:
            self.reads += 1
            if self.reads > MAX_READS:
                raise NotAVideo
            self._kept[first] = self._read(first, min(BLOCK, self.size - first))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[first][start - first : start - first + length]


def _report(size: int, blocks: _Blocks) -> Any:
    """MediaInfo's report of the file.

    The process has no environment, so it knows no key and no address. -P: this package is no place to import from, it
    has modules with names of the standard library's.
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
            for line in lines:
                if line.startswith(b"{"):
                    return json.loads(line).get("media") or {}
                start, length = map(int, line.split())
                cast("io.FileIO", reader.stdin).write(blocks.get(start, length))
        except (BrokenPipeError, ValueError):
            raise NotAVideo from None
        finally:
            reader.kill()
    raise NotAVideo


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _container(general: Mapping[str, str]) -> str:
    return "QuickTime" if general.get("Format_Profile") == "QuickTime" else general.get("Format", "unknown container")


def _obstacle(kind: str, general: Mapping[str, str], tracks: Sequence[Mapping[str, str]]) -> str | None:
    """What browsers lack for it; None if they play it."""
    for track in tracks:
        codec = track.get("Format", "unknown codec")
        if codec not in _CODECS.get(track["@type"], {codec}):
            return codec
        if track["@type"] == "Video" and codec == "AVC":
            depth, colours = track.get("BitDepth", "8"), track.get("ChromaSubsampling", "4:2:0")
            if (depth, colours) != ("8", "4:2:0"):
                return f"AVC {depth} bit {colours}"
    return None if kind in _PLAYED else _container(general)
