"""What the stored object decides of an answer: its key byte for byte, its type, its coding; and which token decides."""

import gzip
import unicodedata
from typing import Any

import httpx
import pytest
from botocore.session import get_session

from local.s3 import S3
from tests.e2e.clients import Company, expect, problem, unique
from tests.e2e.films import FILM, put
from vms.paths import object_key


def stream(video: int) -> str:
    return f"/v1/videos/stream/{video}"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_key_is_bytes_and_never_normalised(acme: Company, bucket: S3, form: str) -> None:
    name = unicodedata.normalize("NFC" if form == "NFC" else "NFD", "\u00e9t\u00e9 \ub8e8\uba3c\ub7a9.mp4")
    key = put(bucket, acme, FILM, f"tests/{unique('key')}/{name}")
    video = acme.video(file_path=key)
    assert expect(acme.admin.get(f"/v1/videos/id/{video}"), 200)["file_path"] == key
    assert acme.guest.get(stream(video)).content == FILM


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("ts", "video/mp2t"),
        ("mkv", "video/x-matroska"),
        ("m4v", "video/mp4"),
        ("flv", "video/x-flv"),
        ("MOV", "video/quicktime"),
        ("m4a", "audio/mp4"),
        ("unknown", "video/mp4"),
    ],
)
def test_without_a_stored_type_the_ending_decides_and_audio_and_video_play(
    acme: Company, bucket: S3, ending: str, kind: str
) -> None:
    key = put(bucket, acme, FILM, f"tests/{unique('object')}.{ending}", "binary/octet-stream")
    headers = acme.guest.get(stream(acme.video(file_path=key))).headers
    assert headers["Content-Type"] == kind
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not {"content-security-policy", "content-disposition"} & set(headers)


@pytest.mark.parametrize(
    "kind",
    [
        *("text/html", "image/svg+xml", "application/pdf"),
        *("video/mp4, text/html", "video/mp4,text/html", "audio/ogg;a=b, text/html", "video/x+xml", "video/", "video"),
    ],
)
def test_what_is_neither_audio_nor_video_is_a_download_in_a_sandbox(acme: Company, bucket: S3, kind: str) -> None:
    key = put(bucket, acme, b"<script>", kind=kind)
    headers = acme.guest.get(stream(acme.video(file_path=key))).headers
    assert (headers["Content-Type"], headers["Content-Disposition"]) == (kind, "attachment")
    assert headers["Content-Security-Policy"] == "sandbox"


@pytest.mark.parametrize(("stored", "told"), [("gzip", "gzip"), ("aws-chunked", None), ("aws-chunked,gzip", "gzip")])
def test_the_coding_of_the_object_is_passed_on_and_that_of_an_upload_is_not(
    acme: Company, bucket: S3, stored: str, told: str | None
) -> None:
    body, key = gzip.compress(FILM), f"tests/{unique('object')}.mp4"
    client: Any = get_session().create_client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    )
    client.put_object(Bucket=bucket.bucket, Key=object_key(acme.id, key), Body=body, ContentEncoding=stored)
    answer = acme.guest.get(stream(acme.video(file_path=key)))
    assert answer.headers.get("Content-Encoding") == told
    assert answer.content == (FILM if told else body)  # the client decodes what it is told to be coded


def test_the_token_in_the_url_decides_whatever_a_proxy_or_a_browser_sends_beside_it(
    acme: Company, http: httpx.Client, bucket: S3
) -> None:
    video = acme.video(file_path=put(bucket, acme, FILM))
    url = httpx.URL(expect(acme.guest.call("POST", f"/v1/videos/{video}/playback"), 200)["url"])
    path = f"{stream(video)}?{url.query.decode()}"
    for header in ("Basic YTpi", "", "Bearer old.and.void", "Bearer"):
        assert http.get(path, headers={"Authorization": header}).content == FILM
    refused = http.get(f"{stream(video)}?token=void", headers=acme.guest.headers)
    problem(refused, 401, "unauthenticated")


def test_errors_of_head_have_the_length_of_get_and_no_body(acme: Company, http: httpx.Client) -> None:
    missing = stream(acme.video(file_path="tests/not-there.mp4"))
    for path, headers in ((missing, acme.guest.headers), (missing, {}), (stream(2**62), acme.guest.headers)):
        got, head = http.get(path, headers=headers), http.head(path, headers=headers)
        assert head.status_code == got.status_code
        assert head.content == b""
        # The ids in the two documents are of one length.
        assert head.headers.get("Content-Length") in {got.headers["Content-Length"], None}
