"""Films in the service's bucket, and the processes that stream them."""

import random
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from local.s3 import S3
from tests.e2e.clients import Company, unique
from tests.environment import of_child
from tests.service import Service
from vms.paths import object_key

FILM = (Path(__file__).parents[1] / "data" / "colours.mp4").read_bytes()

# What ffmpeg can make, by name. Where a film's index is decides how a player reads it.
KINDS: Mapping[str, tuple[str, ...]] = {
    "index-first.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart"),
    "index-last.mp4": ("-c:v", "libx264", "-c:a", "aac"),
    "fragmented.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"),
    "film.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "film.mkv": ("-c:v", "libx264", "-c:a", "aac"),
}


def make(path: Path) -> Path:
    """Write a film of 20 seconds, of the kind of its name, larger than two slices: noise hardly compresses."""
    pictures = "nullsrc=size=320x240:rate=15:duration=20,geq=random(1)*255:128:128"
    inputs = ("-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", "sine=frequency=440:duration=20")
    options = ("-b:v", "6M", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p")
    command = ("ffmpeg", "-v", "error", *inputs, *KINDS[path.name], *options, str(path))
    subprocess.run(command, env=of_child(), stdin=subprocess.DEVNULL, timeout=120, check=True)
    return path


def put(bucket: S3, company: Company, body: bytes, path: str | None = None, kind: str = "video/mp4") -> str:
    """Store a film in the company's folder; returns its path within."""
    path = path or f"tests/{unique('object')}.mp4"
    key = quote(object_key(company.id, path), safe="/-._~")
    assert bucket.request("PUT", key, body, content_type=kind).status == 200
    return path


def padded(size: int) -> bytes:
    """A film that plays and has so many bytes: FILM, and bytes that players pass over (ISO/IEC 14496-12, `free`)."""
    pad = size - len(FILM)
    return FILM + struct.pack(">I4s", pad, b"free") + random.Random(size).randbytes(pad - 8)


def bucket_of(environment: Mapping[str, str]) -> S3:
    """The bucket that an environment, such as a service's, names."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "VIDEO_BUCKET")
    endpoint, access_key, secret_key, region, bucket = (environment[name] for name in names)
    return S3(endpoint, access_key, secret_key, region, bucket, Path())


def workers(service: Service) -> Iterator[int]:
    """The process ids of the runner's stream workers, where this machine shows its processes."""
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = status.read_bytes()
        except OSError:
            continue
        if (
            b"functions/stream\0" in environment  # LAMBDA_TASK_ROOT
            and service.environment["DATABASE_URL"].encode() in environment
        ):
            yield int(status.parent.name)
