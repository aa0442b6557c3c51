"""The contract tests once more, against the handlers in this process: this is what coverage sees."""

# ruff: noqa: F403, F401 - the very tests of the end-to-end suite, collected a second time with another `http`
import os
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.clients import Company, found_company
from tests.e2e.conftest import Service
from tests.e2e.test_auth import *
from tests.e2e.test_corporations import *
from tests.e2e.test_matrix import *
from tests.e2e.test_stream import (
    bucket,
    film,
    long,
    test_a_logged_view_still_gets_its_points_by_a_stream,
    test_a_long_range_is_exact,
    test_a_malformed_range_is_ignored,
    test_a_missing_object_is_404_and_grants_nothing,
    test_a_playback_url_plays_its_video_for_its_user_alone,
    test_a_range_is_206_with_its_bytes,
    test_a_range_outside_of_the_object_is_416_with_its_size,
    test_a_stream_leaves_one_view_log_and_ten_points,
    test_an_empty_object,
    test_any_legal_key_reaches_s3_right,
    test_head_has_the_headers_of_get_and_grants_nothing,
    test_if_range_holds_only_for_the_same_object,
    test_strangers_get_nothing,
    test_the_whole_object_with_its_headers,
    test_what_the_client_has_already_is_304_without_a_view,
)
from tests.e2e.test_users import *
from tests.e2e.test_videos import *
from tests.in_process import InProcess
from tests.integration.conftest import Services

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(scope="module")
def service(services: Services, environment: None) -> Service:
    return Service("http://localhost", dict(os.environ))
