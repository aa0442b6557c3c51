"""Where the URLs lead that parts are sent to: to the region's own host on AWS, to the named server elsewhere."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.service import forget
from vms import multipart

GIVEN = {
    "DATABASE_URL": "postgresql://nobody@localhost/none",
    "JWT_KEYS": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keys",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_ENDPOINT_URL_S3": "",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def give(**values: str) -> None:
        for name, value in {**GIVEN, **values}.items():
            monkeypatch.setenv(name, value)
        forget()

    yield give
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("region", "bucket", "endpoint", "address"),
    [
        ("eu-west-1", "films", "", "https://films.s3.eu-west-1.amazonaws.com"),
        ("us-east-1", "films", "", "https://films.s3.us-east-1.amazonaws.com"),
        ("cn-north-1", "films", "", "https://films.s3.cn-north-1.amazonaws.com.cn"),
        ("eu-west-1", "my.films", "", "https://s3.eu-west-1.amazonaws.com/my.films"),
        ("us-east-1", "films", "http://127.0.0.1:8333", "http://127.0.0.1:8333/films"),
    ],
)
def test_a_part_goes_to_its_region(
    settings: Callable[..., None], region: str, bucket: str, endpoint: str, address: str
) -> None:
    settings(AWS_REGION=region, VIDEO_BUCKET=bucket, AWS_ENDPOINT_URL_S3=endpoint)
    url = httpx.URL(multipart.sign("corporations/1/a b.mp4", "id", 3, 5, 60))
    assert str(url.copy_with(query=None)) == f"{address}/corporations/1/a%20b.mp4"
    assert url.params["X-Amz-SignedHeaders"] == "content-length;host"
    assert (url.params["partNumber"], url.params["uploadId"], url.params["X-Amz-Expires"]) == ("3", "id", "60")
    assert f"/{region}/s3/" in url.params["X-Amz-Credential"]
    assert not [name for name in url.params if "checksum" in name.lower()]  # a browser computes none
