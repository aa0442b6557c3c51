"""The console: a web page for people, and the files that it is made of."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from vms.api import Api, Response, Who
from vms.errors import NotFound
from vms.schemas import PathText
from vms.settings import settings, stream_settings

api = Api()
stream_settings()  # a missing setting stops the function here

STATIC = Path(__file__).with_name("static")
MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# For the files: their URL has the hash of all of them, so it never means other bytes.
FOR_GOOD = "public, max-age=31536000, immutable"
# Modules that import each other: the page names them, so that they are loaded at the same time and not one after the
# other. The modules in pages/ are loaded when they are shown.
NEEDED_AT_ONCE = (
    *(f"app/{name}.js" for name in ("app", "session", "api", "problem", "parts", "pictures", "places", "text")),
    "vendor/preact.js",
    "messages/en.js",
    "messages/ko.js",
)
EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Video console</title>
<link rel="icon" href="{at}app/icon.svg">
<link rel="stylesheet" href="{at}vendor/pico.css">
<link rel="stylesheet" href="{at}vendor/uplot.css">
<link rel="stylesheet" href="{at}app/console.css">
{preloads}
<script type="module" src="{at}app/app.js"></script>
</head>
<body><div id="console"><p class="starting" aria-busy="true"></p></div>
<noscript><p class="starting">This page needs JavaScript. 이 페이지에는 자바스크립트가 필요합니다.</p></noscript></body>
</html>
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    media_type: str
    text: str
    etag: str


def _etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _read() -> dict[str, File]:
    """Every file that may be asked for, by its path below static/. No other file is ever read."""
    found = {}
    for path in sorted(STATIC.rglob("*")):
        if (media_type := MEDIA_TYPES.get(path.suffix)) and path.is_file():
            text = path.read_text("utf-8")
            found[path.relative_to(STATIC).as_posix()] = File(media_type, text, _etag(text))
    return found


FILES = _read()
VERSION = hashlib.sha256("".join(f"{name}{file.etag}" for name, file in FILES.items()).encode()).hexdigest()[:16]


def _bucket_origins() -> set[str]:
    """Where presigned URLs of the bucket may lead: to the regional host, or to the global one that SDKs also use."""
    from vms.aws import s3_endpoint  # only the page needs it, the files do not

    bucket, endpoint = stream_settings().bucket, stream_settings().endpoint_url
    urls = [endpoint] if endpoint else [s3_endpoint(bucket, settings().region), f"https://{bucket}.s3.amazonaws.com"]
    return {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls}


@cache
def _policy() -> str:
    """The page's Content-Security-Policy (W3C CSP3): files and calls of this origin, and uploads into the bucket.

    The elements of media-chrome put style sheets into their shadow roots; their hashes are allowed, one by one.
    """
    styles = json.loads((STATIC / "vendor" / "styles.json").read_text("utf-8"))
    directives = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", *(f"'{each}'" for each in styles)],
        "img-src": ["'self'", "blob:", "data:"],
        "media-src": ["'self'", "blob:"],
        "connect-src": ["'self'", *sorted(_bucket_origins())],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


@cache
def _page(at: str) -> File:
    preloads = "\n".join(f'<link rel="modulepreload" href="{at}{name}">' for name in NEEDED_AT_ONCE)
    text = _PAGE.format(at=at, preloads=preloads)
    return File("text/html; charset=utf-8", text, _etag(text + _policy()))


def _answer(file: File, headers: dict[str, str]) -> Response[str]:
    """The file, or 304 where the caller has it already (RFC 9110 section 13.1.2)."""
    headers = {**EVERYWHERE, **headers, "ETag": file.etag}
    asked = api.resolver.current_event.headers.get("If-None-Match") or ""
    if asked.strip() == "*" or file.etag in (each.strip().removeprefix("W/") for each in asked.split(",")):
        return Response(304, headers=headers, body="")
    return Response(200, content_type=file.media_type, headers=headers, body=file.text)


@api.get("/console", who=Who.ANONYMOUS, summary="Open the console", media=("text/html",))
def open_console() -> Response[str]:
    # Relative, so that it is right under any stage, domain and proxy: from /console and from /console/ alike.
    at = f"{VERSION}/" if api.resolver.current_event["requestContext"]["path"].endswith("/") else f"console/{VERSION}/"
    return _answer(_page(at), {"Cache-Control": "no-cache", "Content-Security-Policy": _policy()})


@api.get(
    "/console/<version>/<folder>/<file>",
    who=Who.ANONYMOUS,
    summary="Get a file of the console",
    media=("text/javascript",),
)
def get_console_file(version: PathText, folder: PathText, file: PathText) -> Response[str]:
    name = f"{folder}/{file}"
    if name not in FILES:
        raise NotFound
    # While two releases are live, a page may ask one for the other's files: that answer is not to be kept.
    return _answer(FILES[name], {"Cache-Control": FOR_GOOD if version == VERSION else "no-cache"})


lambda_handler = api.handle
