"""The contract tests once more, against the handlers in this process: this is what coverage sees."""

# ruff: noqa: F403 - the very tests of the end-to-end suite, collected a second time with another `http`
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.clients import Company, found_company
from tests.e2e.test_auth import *
from tests.e2e.test_corporations import *
from tests.e2e.test_matrix import *
from tests.e2e.test_users import *
from tests.e2e.test_videos import *
from tests.in_process import InProcess

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(scope="module")
def http(environment: None) -> Iterator[httpx.Client]:
    with httpx.Client(transport=InProcess(), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def acme(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture(scope="module")
def rival(http: httpx.Client) -> Company:
    return found_company(http)
