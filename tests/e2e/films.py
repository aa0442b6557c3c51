"""Films in the service's bucket, and the processes that stream them."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from local.s3 import S3
from tests.e2e.clients import unique
from tests.service import Service

FILM = (Path(__file__).parents[1] / "data" / "colours.mp4").read_bytes()


def put(bucket: S3, body: bytes, key: str | None = None) -> str:
    key = key or f"tests/{unique('object')}.mp4"
    assert bucket.request("PUT", quote(key, safe="/-._~"), body, content_type="video/mp4").status == 200
    return key


def bucket_of(service: Service) -> S3:
    """The bucket that the service's environment names."""
    found = service.environment
    return S3(
        found["AWS_ENDPOINT_URL_S3"],
        found["AWS_ACCESS_KEY_ID"],
        found["AWS_SECRET_ACCESS_KEY"],
        found["AWS_REGION"],
        found["VIDEO_BUCKET"],
        Path(),
    )


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
