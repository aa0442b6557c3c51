"""The OpenAPI document says what the server enforces: a fuzzer that knows the document alone finds no difference."""

import httpx
import pytest

from tests.e2e.clients import Company, expect, problem
from tests.fuzz.document import ROLES, fuzz
from tests.service import Service


@pytest.mark.transports("over_http")
@pytest.mark.parametrize("role", ROLES)
def test_what_the_document_allows_is_what_is_enforced(service: Service, role: str) -> None:
    if service.elsewhere:
        pytest.skip("a service elsewhere: a fuzzer would leave its rows there")
    done = fuzz(service.url, role, seed=1, examples=1)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4_000:]


def test_a_slash_at_the_end_of_the_playback_route_gives_a_url_that_plays_too(acme: Company) -> None:
    video = acme.video()
    plain = expect(acme.guest.call("POST", f"/v1/videos/{video}/playback"), 200)["url"]
    slash = expect(acme.guest.call("POST", f"/v1/videos/{video}/playback/"), 200)["url"]
    assert slash.partition("?")[0] == plain.partition("?")[0]
    problem(acme.guest.get(slash), 404, "file-missing")


def test_a_body_that_is_no_utf_8_is_400_and_never_replaced(http: httpx.Client, acme: Company) -> None:
    body = b'{"email": "%s", "password": "caf\xe9 caf\xe9"}' % acme.admin.email.encode()
    problem(http.post("/v1/auth/login", content=body), 400, "bad-json")
    problem(acme.admin.call("POST", "/v1/videos", content=b'{"name": "\xff", "file_path": "a"}'), 400, "bad-json")


def test_a_whole_number_of_json_is_an_integer_and_a_boolean_is_none(acme: Company) -> None:
    video = acme.video()
    logged = acme.guest.call("POST", "/v1/view-logs", content=b'{"video_id": %d.0}' % video)
    assert expect(logged, 201)["video_id"] == video
    for wrong in (b"true", b'"1"', b"1.5", b"1e400"):
        problem(acme.guest.call("POST", "/v1/view-logs", content=b'{"video_id": %s}' % wrong), 422, "invalid")
