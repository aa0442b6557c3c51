"""Web pages of other origins: preflight of every path, every kind of answer, the bucket, and a page in a browser."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from local.s3 import S3
from tests.e2e.chromium import needs_browser
from tests.e2e.clients import PASSWORD, Company, expect
from tests.e2e.films import FILM, put
from tests.e2e.test_browser import Page, browsing
from tests.in_process import routes
from tests.service import Service

LISTED, FOREIGN = {"Origin": "http://localhost:5173"}, {"Origin": "https://www.example.com"}
ASKED = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, content-type"}
PAGE = Path(__file__).with_name("origins.html")
METHODS = {path: sorted(m for m, p in routes() if p == path and m != "OPTIONS") for _, path in routes()}


@pytest.fixture(scope="module", autouse=True)
def _listed(service: Service, http: httpx.Client) -> None:
    if service.elsewhere and "Access-Control-Allow-Origin" not in http.options("/v1/videos", headers=LISTED).headers:
        pytest.skip(f"the CORS_ORIGINS of the service do not list {LISTED['Origin']}")


def told(answer: httpx.Response) -> dict[str, str]:
    """What the answer says to a browser about other origins."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", sorted(METHODS))
def test_a_preflight_request_is_answered_by_the_path_s_methods(http: httpx.Client, path: str) -> None:
    wire = path.replace("{", "").replace("}", "")
    allowed = http.options(wire, headers=LISTED | ASKED)
    assert (allowed.status_code, allowed.content) == (204, b"")
    said = told(allowed)
    assert said["access-control-allow-origin"] == LISTED["Origin"]
    assert said["access-control-allow-methods"].split(", ") == METHODS[path]
    fields = {name.lower() for name in said["access-control-allow-headers"].split(", ")}
    assert fields >= {"authorization", "content-type", "range", "if-range", "if-none-match", "if-match"}
    assert fields >= {"idempotency-key"}
    assert int(said["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in said
    assert "Origin" in allowed.headers["Vary"]
    refused = http.options(wire, headers=FOREIGN | ASKED)
    assert (refused.status_code, told(refused)) == (204, {})
    assert "Origin" in refused.headers["Vary"]


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        ("GET", "/v1/auth/me", {}, 200),
        ("GET", "/openapi.json", {}, 200),
        ("DELETE", "/v1/videos/VIDEO", {}, 204),
        ("GET", "/", {}, 302),
        ("POST", "/v1/videos", {}, 422),
        ("GET", "/v1/auth/me", {"Authorization": "Bearer x"}, 401),
        ("GET", "/v1/videos/id/9223372036854775807", {}, 404),
        ("GET", "/v1/videos/stream/VIDEO", {}, 200),
        ("HEAD", "/v1/videos/stream/VIDEO", {}, 200),
        ("GET", "/v1/videos/stream/VIDEO", {"Range": "bytes=0-9"}, 206),
        ("HEAD", "/v1/videos/stream/VIDEO", {"Range": "bytes=0-9"}, 206),
        ("GET", "/v1/videos/stream/VIDEO", {"If-None-Match": "*"}, 304),
        ("GET", "/v1/videos/stream/VIDEO", {"If-Match": '"x"'}, 412),
        ("GET", "/v1/videos/stream/VIDEO", {"Range": "bytes=999999999-"}, 416),
        ("HEAD", "/v1/videos/stream/VIDEO", {"Range": "bytes=999999999-"}, 416),
        ("GET", "/v1/videos/stream/VIDEO", {"Authorization": "Bearer x"}, 401),
        ("GET", "/v1/videos/stream/9223372036854775807", {}, 404),
        ("GET", "/v1/videos/stream/x", {}, 422),
    ],
)
def test_every_kind_of_answer_is_readable_by_a_listed_origin_alone(
    acme: Company, bucket: S3, method: str, path: str, fields: dict[str, str], status: int
) -> None:
    for origin in (LISTED, FOREIGN, {"Origin": "null"}, {}):
        path_ = path.replace("VIDEO", str(acme.video(file_path=put(bucket, acme, FILM))))
        answer = acme.admin.call(method, path_, headers=fields | origin)
        assert answer.status_code == status
        assert "Origin" in answer.headers["Vary"]
        said = told(answer)
        if origin is LISTED:
            assert said.pop("access-control-allow-origin") == origin["Origin"]
            exposed = {name.lower() for name in said.pop("access-control-expose-headers").split(", ")}
            assert exposed >= {"content-range", "accept-ranges", "etag", "content-length", "location", "retry-after"}
            assert exposed >= {"x-amzn-requestid", "idempotency-replayed"}
        assert said == {}


@pytest.mark.transports("over_http")
def test_an_answer_of_the_gateway_itself_is_readable_too(http: httpx.Client) -> None:
    answer = http.get("/v1/nowhere", headers=LISTED)
    assert answer.status_code == 404
    assert told(answer) == {"access-control-allow-origin": "*", "access-control-expose-headers": "*"}


def test_the_bucket_takes_a_part_from_a_page(bucket: S3) -> None:
    url = f"{bucket.endpoint}/{bucket.bucket}/corporations/1/film.mp4?partNumber=1&uploadId=x"
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    answer = httpx.options(url, headers=LISTED | asked, trust_env=False)
    assert answer.status_code in {200, 204}
    said = told(answer)
    assert said["access-control-allow-origin"] in {LISTED["Origin"], "*"}
    assert "PUT" in said["access-control-allow-methods"]
    assert "content-type" in said["access-control-allow-headers"].lower()
    sent = httpx.put(url, headers=LISTED, content=b"x", trust_env=False)  # without a signature: refused, and readable
    assert sent.status_code == 403
    assert told(sent)["access-control-allow-origin"] in {LISTED["Origin"], "*"}
    assert "etag" in told(sent)["access-control-expose-headers"].lower()


def browse(acme: Company, bucket: S3, profile: Path, host: str) -> dict[str, Any]:
    """What a page at this host name could read of the API."""
    film = acme.video(file_path=put(bucket, acme, FILM))
    url = expect(acme.admin.call("POST", f"/v1/videos/{film}/playback"), 200)["url"]
    text = PAGE.read_text("utf-8").replace("API_URL", str(acme.admin.http.base_url).rstrip("/"))
    text = text.replace("FILM_ID", str(film)).replace("PLAYBACK_URL", url).replace("EMAIL", acme.admin.email)
    text = text.replace("PASSWORD", PASSWORD).replace("TOKEN", acme.admin.tokens["access_token"])
    page = Page(text)
    try:
        with browsing(page.url.replace("127.0.0.1", host), profile):
            return page.told.get(timeout=90)
    finally:
        page.stop()


@needs_browser
@pytest.mark.transports("over_http")
def test_a_page_of_a_listed_origin_uses_the_api_and_plays_a_film(acme: Company, bucket: S3, tmp_path: Path) -> None:
    seen = browse(acme, bucket, tmp_path / "profile", "127.0.0.1")
    assert seen.pop("film") == "data:image/png"
    assert {name: answer["status"] for name, answer in seen.items()} == {
        "login": 200,
        "me": 200,
        "created": 201,
        "renamed": 200,
        "invalid": 422,
        "stranger": 401,
        "nowhere": 404,
        "range": 206,
        "unsatisfiable": 416,
        "removed": 204,
    }
    assert '"access_token"' in seen["login"]["text"]
    assert "urn:vms:error:invalid" in seen["invalid"]["text"]
    assert "urn:vms:error:not-found" in seen["nowhere"]["text"]
    assert seen["range"]["headers"]["content-range"] == f"bytes 0-99/{len(FILM)}"
    assert seen["range"]["headers"]["etag"].startswith('"')
    assert seen["range"]["headers"]["accept-ranges"] == "bytes"
    assert seen["unsatisfiable"]["headers"]["content-range"] == f"bytes */{len(FILM)}"
    assert all("x-amzn-requestid" in answer["headers"] for answer in seen.values())


@needs_browser
@pytest.mark.transports("over_http")
def test_a_page_of_another_origin_reads_nothing(acme: Company, bucket: S3, tmp_path: Path) -> None:
    seen = browse(acme, bucket, tmp_path / "profile", "pages.localhost")  # a browser takes such names for the loopback
    gateways = seen.pop("nowhere")
    assert gateways["status"] == 404  # API Gateway's own answer: it says nothing of anybody
    assert set(seen.values()) == {"refused"}
