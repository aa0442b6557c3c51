"""The bucket under the service, where the end-to-end tests put their films."""

from pathlib import Path

import pytest

from local.s3 import S3
from tests.service import Service


@pytest.fixture(scope="module")
def bucket(service: Service) -> S3:
    found = service.environment
    if "AWS_ENDPOINT_URL_S3" not in found:
        pytest.skip("no env file names a bucket (--env-file): there is nowhere to put objects")
    return S3(
        found["AWS_ENDPOINT_URL_S3"],
        found["AWS_ACCESS_KEY_ID"],
        found["AWS_SECRET_ACCESS_KEY"],
        found["AWS_REGION"],
        found["VIDEO_BUCKET"],
        Path(),
    )
