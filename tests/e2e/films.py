"""Films in the service's bucket."""

from pathlib import Path
from urllib.parse import quote

from local.s3 import S3
from tests.e2e.clients import unique

FILM = (Path(__file__).parents[1] / "data" / "colours.mp4").read_bytes()


def put(bucket: S3, body: bytes, key: str | None = None) -> str:
    key = key or f"tests/{unique('object')}.mp4"
    assert bucket.request("PUT", quote(key, safe="/-._~"), body, content_type="video/mp4").status == 200
    return key
