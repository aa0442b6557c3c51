"""Random requests to the stream, compared with an oracle of RFC 9110: status, bytes, lengths and validators."""

import os
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from local.s3 import S3
from tests.e2e.clients import Company, add_member
from tests.e2e.films import put
from tests.oracle import Expected, Headers, Object, answer, requests

# Over HTTP the same decisions pass the front as well, which takes fewer requests to see.
REQUESTS = {"in_process": 2_700, "over_http": 300}
SEED = 9110
SIZES = (0, 1, 2, 1_000, 70_000)


def check(method: str, given: httpx.Response, expected: Expected, found: Object) -> None:
    assert given.status_code == expected.status
    assert given.headers.get("Content-Range") == expected.content_range
    if expected.status in {200, 206}:
        assert given.headers["Content-Length"] == str(len(expected.body))
        assert given.content == (b"" if method == "HEAD" else expected.body)
    if expected.status in {200, 206, 304}:
        assert given.headers["ETag"] == found.etag
        assert parsedate_to_datetime(given.headers["Last-Modified"]) == found.modified
    if expected.status == 304:
        assert given.content == b""


def test_every_answer_is_the_one_of_the_rfc(
    acme: Company, bucket: S3, transport: str, pytestconfig: pytest.Config
) -> None:
    viewer = add_member(acme.admin)
    bodies = [os.urandom(size) for size in SIZES]
    paths = [f"/v1/videos/stream/{acme.video(file_path=put(bucket, acme, body))}" for body in bodies]
    objects = []
    for path, body in zip(paths, bodies, strict=True):
        known = viewer.call("HEAD", path).headers
        objects.append(Object(body, known["ETag"], parsedate_to_datetime(known["Last-Modified"])))
    time.sleep(2)  # a date of this very second is no strong validator
    seed, times = pytestconfig.getoption("--seed"), pytestconfig.getoption("--fuzz")
    for index, headers in requests(seed or SEED, objects, REQUESTS[transport] * times):
        for method in ("GET", "HEAD") if len(headers) > 2 else ("GET",):
            given = viewer.call(method, paths[index], headers=headers)
            try:
                check(method, given, answer(objects[index], headers), objects[index])
            except AssertionError as failure:
                raise AssertionError(told(method, len(bodies[index]), headers, seed)) from failure


def told(method: str, size: int, headers: Headers, seed: int) -> str:
    return f"{method} of {size} bytes with {headers}, seed {seed or SEED}"
