"""What an object is, and the headers that say so (RFC 9110 section 8).

Media types come from one table, the same on every host.
"""

from dataclasses import dataclass
from re import compile as regex

type Headers = list[tuple[str, str]]

# S3 gives these to objects that were stored without a type.
_NO_TYPE = {"", "binary/octet-stream", "application/octet-stream"}
_DEFAULT_TYPE = "video/mp4"
# One type that is played and not read. Of a list, as in "video/mp4, text/html", browsers take the last
# (https://fetch.spec.whatwg.org/#concept-header-extract-mime-type), and what ends in "+xml" is a document with scripts.
_PLAYED = regex(r"(video|audio)/[\w.-]+[ \t]*(;[^,]*)?")
_TYPES = {
    "3gp": "video/3gpp",
    "aac": "audio/aac",
    "avi": "video/x-msvideo",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "m2ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",
    "m4a": "audio/mp4",
    "m4s": "video/iso.segment",
    "m4v": "video/mp4",
    "mka": "audio/x-matroska",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpd": "application/dash+xml",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mts": "video/mp2t",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "srt": "application/x-subrip",
    "svg": "image/svg+xml",
    "ts": "video/mp2t",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webp": "image/webp",
    "wmv": "video/x-ms-wmv",
    "xml": "application/xml",
    "zip": "application/zip",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an object: its first and its last byte, inclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Its bytes."""
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True)
class Representation:
    """An object as S3 describes it; `size` in bytes, the rest as in its headers, empty where S3 gives none."""

    size: int
    etag: str
    last_modified: str
    content_type: str
    content_encoding: str


def describe(found: Representation, key: str, status: int, span: Span | None) -> Headers:
    """The headers of a 200, 206 or 304 answer. An object without a type in S3 gets that of the key's ending.

    Audio and video may play in a page of their own. Anything else is a download in a sandbox, so that no file runs as a
    page of this API.
    """
    headers = [
        (name, value)
        for name, value in (
            ("ETag", found.etag),
            ("Last-Modified", found.last_modified),
            ("Cache-Control", "private"),
            ("X-Content-Type-Options", "nosniff"),
        )
        if value
    ]
    if span is None:
        return headers
    kind = media_type(found.content_type, key)
    headers += [("Content-Type", kind), ("Content-Length", str(span.length)), ("Accept-Ranges", "bytes")]
    if not _PLAYED.fullmatch(kind.lower()):
        headers += [("Content-Disposition", "attachment"), ("Content-Security-Policy", "sandbox")]
    if status == 206:
        headers.append(("Content-Range", f"bytes {span.start}-{span.end}/{found.size}"))
    # S3 stores `aws-chunked` where an uploader signed its chunks; it is a coding of that upload, not of the object.
    codings = [coding.strip() for coding in found.content_encoding.split(",")]
    if encoding := ", ".join(coding for coding in codings if coding and coding.lower() != "aws-chunked"):
        headers.append(("Content-Encoding", encoding))
    return headers


def media_type(stored: str, key: str) -> str:
    """The stored type, unless it stands for none; else by the key's ending, else video/mp4."""
    if stored.partition(";")[0].strip().lower() not in _NO_TYPE:
        return stored
    name = key.rpartition("/")[2]
    return _TYPES.get(name.rpartition(".")[2].lower(), _DEFAULT_TYPE) if "." in name else _DEFAULT_TYPE
