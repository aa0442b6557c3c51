"""The bucket under the service, where the end-to-end tests put their films."""

import pytest

from local.s3 import S3
from tests.e2e.chromium import browser, opens  # noqa: F401 - fixtures
from tests.e2e.films import bucket_of
from tests.service import Service


@pytest.fixture(scope="module")
def bucket(service: Service) -> S3:
    if "AWS_ENDPOINT_URL_S3" not in service.environment:
        pytest.skip("no env file names a bucket (--env-file): there is nowhere to put objects")
    return bucket_of(service.environment)
