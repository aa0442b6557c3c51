"""Every row of the stream's contract, over HTTP, with real objects in a real S3 server."""

import hashlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from local.s3 import S3
from tests.e2e.clients import Company, Person, add_member, expect, found_company, problem, unique
from tests.e2e.films import FILM, put, workers
from tests.service import Service

MIB = 1024 * 1024
# What takes a server: many clients at once, sockets, other processes.
over_http = pytest.mark.transports("over_http")


@pytest.fixture(scope="module")
def film(acme: Company, bucket: S3) -> int:
    return acme.video(file_path=put(bucket, acme, FILM))


def stream(video: int) -> str:
    return f"/v1/videos/stream/{video}"


def test_the_whole_object_with_its_headers(acme: Company, film: int) -> None:
    answer = acme.guest.get(stream(film))
    assert answer.status_code == 200
    assert answer.content == FILM
    headers = answer.headers
    assert (headers["Content-Length"], headers["Accept-Ranges"], headers["Cache-Control"]) == (
        str(len(FILM)),
        "bytes",
        "private",
    )
    assert headers["Content-Type"] == "video/mp4"
    assert headers["ETag"].startswith('"')
    assert headers["Last-Modified"].endswith("GMT")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, len(FILM) - 1),
        ("bytes=-500", len(FILM) - 500, len(FILM) - 1),
        ("bytes=-99999999", 0, len(FILM) - 1),
        ("bytes=0-0", 0, 0),
        (f"bytes={len(FILM) - 1}-", len(FILM) - 1, len(FILM) - 1),
        ("bytes=5-999999999999", 5, len(FILM) - 1),
        ("bytes=0-9223372036854775807", 0, len(FILM) - 1),
        ("BYTES=0-9", 0, 9),
        ("bytes=10-19, 30-39", 10, 19),
    ],
)
def test_a_range_is_206_with_its_bytes(acme: Company, film: int, asked: str, start: int, end: int) -> None:
    answer = acme.guest.get(stream(film), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(FILM)}"
    assert answer.headers["Content-Length"] == str(end - start + 1)
    assert answer.content == FILM[start : end + 1]


@pytest.mark.parametrize(
    "asked",
    [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "chunks=0-5",
        "bytes=0-5-9",
        "bytes=0-5,abc",
    ],
)
def test_a_malformed_range_is_ignored(acme: Company, film: int, asked: str) -> None:
    answer = acme.guest.get(stream(film), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, FILM)


@pytest.mark.parametrize("asked", [f"bytes={len(FILM)}-", "bytes=99999999-100000000", "bytes=-0", f"bytes={'9' * 30}-"])
def test_a_range_outside_of_the_object_is_416_with_its_size(acme: Company, film: int, asked: str) -> None:
    answer = acme.guest.get(stream(film), headers={"Range": asked})
    problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(FILM)}"


@pytest.fixture(scope="module")
def long(acme: Company, bucket: S3) -> tuple[int, bytes]:
    """A video of more than a slice, and its bytes."""
    body = os.urandom(7 * MIB)
    return acme.video(file_path=put(bucket, acme, body)), body


@pytest.mark.parametrize("asked", ["bytes=0-", f"bytes=-{7 * MIB}"])
def test_a_long_range_is_exact(acme: Company, long: tuple[int, bytes], service: Service, asked: str) -> None:
    video, body = long
    most = 4 * MIB if service.environment.get("STREAM_MODE") == "buffered" else len(body)
    for path in (stream(video), playback(acme.guest, video), playback(acme.guest, video, slices=False)):
        answer = acme.guest.get(path, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes 0-{most - 1}/{len(body)}"
        assert answer.content == body[:most]


@pytest.mark.parametrize("asked", ["bytes=0-", f"bytes=-{7 * MIB}"])
def test_a_long_range_is_answered_by_a_slice_where_the_playback_url_asked_for_slices(
    acme: Company, long: tuple[int, bytes], asked: str
) -> None:
    video, body = long
    answer = acme.guest.http.get(playback(acme.guest, video, slices=True), headers={"Range": asked})
    assert answer.status_code == 206
    assert len(answer.content) in {6 * MIB, 4 * MIB}
    assert answer.content == body[: len(answer.content)]
    assert answer.headers["Content-Range"] == f"bytes 0-{len(answer.content) - 1}/{len(body)}"


def playback(viewer: Person, video: int, **options: bool) -> str:
    """The path and query of a new playback URL."""
    url = expect(viewer.call("POST", f"/v1/videos/{video}/playback", options or None), 200)["url"]
    path = httpx.URL(url).raw_path.decode()
    return path[path.index("/v1/") :]


def test_if_range_holds_only_for_the_same_object(acme: Company, film: int) -> None:
    first = acme.guest.get(stream(film))
    time.sleep(2)  # a date of this very second is no strong validator
    for same in (first.headers["ETag"], first.headers["Last-Modified"]):
        answer = acme.guest.get(stream(film), headers={"Range": "bytes=0-9", "If-Range": same})
        assert (answer.status_code, answer.content) == (206, FILM[:10])
    for other in ('"another"', "W/" + first.headers["ETag"], "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense"):
        for asked in ("bytes=0-9", f"bytes={len(FILM)}-"):
            answer = acme.guest.get(stream(film), headers={"Range": asked, "If-Range": other})
            assert (answer.status_code, answer.content) == (200, FILM)


def test_what_the_client_has_already_is_304_without_a_view(acme: Company, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path=put(bucket, acme, FILM))
    known = viewer.call("HEAD", stream(video)).headers
    for condition in (
        {"If-None-Match": known["ETag"]},
        {"If-None-Match": f'"x", W/{known["ETag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": known["Last-Modified"]},
    ):
        answer = viewer.get(stream(video), headers=condition)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == known["ETag"]
    assert viewer.me()["point"] == 0
    assert expect(viewer.get(f"/v1/view-logs/{viewer.id}/{video}"), 200) is False
    for stale in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}):
        assert viewer.get(stream(video), headers=stale).status_code == 200


def test_head_has_the_headers_of_get_and_grants_nothing(acme: Company, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path=put(bucket, acme, FILM))
    head = viewer.call("HEAD", stream(video))
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(FILM)))
    part = viewer.call("HEAD", stream(video), headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 5-9/{len(FILM)}")
    assert viewer.call("HEAD", stream(video), headers={"Range": "bytes=9999999-"}).status_code == 416
    assert viewer.me()["point"] == 0
    whole = viewer.get(stream(video))
    names = {"Content-Type", "Content-Length", "ETag", "Last-Modified", "Accept-Ranges", "Cache-Control"}
    assert {name: head.headers[name] for name in names} == {name: whole.headers[name] for name in names}


def test_a_stream_leaves_one_view_log_and_ten_points(acme: Company, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path=put(bucket, acme, FILM))
    for headers in ({}, {"Range": "bytes=0-9"}, {}):
        assert viewer.get(stream(video), headers=headers).is_success
    assert viewer.me()["point"] == 10
    logs = expect(viewer.get(f"/v1/view-logs/{viewer.id}"), 200)["items"]
    assert [(log["video_id"], log["point"]) for log in logs] == [(video, 10)]


def test_a_logged_view_still_gets_its_points_by_a_stream(acme: Company, film: int) -> None:
    viewer = add_member(acme.admin)
    expect(viewer.call("POST", "/v1/view-logs", {"video_id": film}), 201)
    assert viewer.get(stream(film)).is_success
    assert viewer.me()["point"] == 10
    again = expect(viewer.call("POST", "/v1/view-logs", {"video_id": film}), 200)
    assert again["point"] == 10


def test_a_missing_object_is_404_and_grants_nothing(acme: Company) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path="tests/not-there.mp4")
    for headers in ({}, {"Range": "bytes=0-"}):
        problem(viewer.get(stream(video), headers=headers), 404, "file-missing")
    assert viewer.call("HEAD", stream(video)).status_code == 404
    assert viewer.me()["point"] == 0
    assert expect(viewer.get(f"/v1/view-logs/{viewer.id}/{video}"), 200) is False


@pytest.mark.parametrize(
    "key", ["a+b c%20d.mp4", "루먼랩/영상 1.mp4", "q?x=1&y#z.mp4", "quote'\"(*)!~.mp4", "deep/er/x.mp4"]
)
def test_any_legal_key_reaches_s3_right(acme: Company, bucket: S3, key: str) -> None:
    body = key.encode()
    video = acme.video(file_path=put(bucket, acme, body, f"tests/{unique('k')}/{key}"))
    answer = acme.guest.get(stream(video))
    assert (answer.status_code, answer.content) == (200, body)


def test_an_empty_object(acme: Company, bucket: S3) -> None:
    video = acme.video(file_path=put(bucket, acme, b""))
    answer = acme.guest.get(stream(video))
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    refused = acme.guest.get(stream(video), headers={"Range": "bytes=0-"})
    assert refused.headers["Content-Range"] == "bytes */0"


def test_strangers_get_nothing(acme: Company, rival: Company, http: httpx.Client, film: int) -> None:
    problem(http.get(stream(film)), 401, "unauthenticated")
    problem(rival.guest.get(stream(film)), 404, "not-found")
    problem(acme.guest.get(stream(2**62)), 404, "not-found")
    for wrong in ("abc", "0", "-1", "9" * 40, "1.0", "%D9%A1"):
        problem(acme.guest.get(f"/v1/videos/stream/{wrong}"), 422, "invalid")
    gone = acme.video(file_path="x")
    acme.admin.call("DELETE", f"/v1/videos/{gone}")
    problem(acme.guest.get(stream(gone)), 404, "not-found")


def test_a_playback_url_plays_its_video_for_its_user_alone(acme: Company, http: httpx.Client, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video, other = (acme.video(file_path=put(bucket, acme, FILM)) for _ in range(2))
    made = expect(viewer.call("POST", f"/v1/videos/{video}/playback"), 200)
    url = httpx.URL(made["url"])
    path = url.raw_path.decode()
    path = path[path.index("/v1/") :]
    assert http.get(path).content == FILM
    part = http.get(path, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, FILM[1:4])
    assert viewer.me()["point"] == 10
    problem(http.get(path.replace(f"/{video}?", f"/{other}?")), 401, "unauthenticated")
    problem(http.get(f"/v1/videos?token={url.params['token']}"), 401, "unauthenticated")
    problem(http.get(f"{stream(video)}?token={viewer.tokens['access_token']}"), 401, "unauthenticated")
    acme.admin.call("DELETE", f"/v1/users/{viewer.id}")
    problem(http.get(path), 401, "unauthenticated")


def test_behind_a_proxy_that_ends_tls_a_playback_url_is_https(acme: Company, film: int) -> None:
    made = acme.guest.call("POST", f"/v1/videos/{film}/playback", headers={"X-Forwarded-Proto": "https"})
    assert expect(made, 200)["url"].startswith("https://")


@over_http
def test_64_concurrent_streams_of_one_video_by_one_user_grant_ten_points_once(acme: Company, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path=put(bucket, acme, FILM[:1000]))
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: viewer.get(stream(video)), range(64)))
    assert [answer.status_code for answer in answers] == [200] * 64
    assert viewer.me()["point"] == 10
    assert len(expect(viewer.get(f"/v1/view-logs/{viewer.id}"), 200)["items"]) == 1


@over_http
def test_32_users_by_32_videos_at_once_lose_no_point(http: httpx.Client, bucket: S3) -> None:
    company = found_company(http)
    key = put(bucket, company, b"film")
    videos = [company.video(file_path=key) for _ in range(32)]
    with ThreadPoolExecutor(8) as pool:
        viewers: list[Person] = list(pool.map(lambda _: add_member(company.admin), range(32)))
    pairs = [(viewer, video) for video in videos for viewer in viewers]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda pair: pair[0].get(stream(pair[1])).status_code, pairs))
    assert set(answers) == {200}
    for viewer in viewers:
        logs = expect(viewer.get(f"/v1/view-logs/{viewer.id}?limit=100"), 200)["items"]
        assert viewer.me()["point"] == 320 == sum(log["point"] for log in logs)


def memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@over_http
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not show a process's memory in /proc"
)
def test_256_mb_pass_through_a_worker_that_grows_by_less_than_16_mib(
    acme: Company, bucket: S3, service: Service, film: int
) -> None:
    if service.elsewhere:
        pytest.skip("a service elsewhere: the workers' memory cannot be seen from here")
    block = os.urandom(4 * MIB)
    size = 256 * MIB
    key = put(bucket, acme, block * 64)
    video = acme.video(file_path=key)
    assert acme.guest.get(stream(film)).is_success  # the workers have served before
    before = {pid: memory(pid, "VmRSS") for pid in workers(service)}
    digest, received = hashlib.sha256(), 0
    with acme.guest.http.stream("GET", stream(video), headers=acme.guest.headers) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            digest.update(chunk)
            received += len(chunk)
    assert received == size
    assert digest.hexdigest() == hashlib.sha256(block * 64).hexdigest()
    grown = [memory(pid, "VmHWM") - idle for pid, idle in before.items() if Path(f"/proc/{pid}").exists()]
    assert grown
    assert max(grown) < 16 * MIB


@over_http
def test_a_client_that_leaves_in_the_middle_does_no_harm(
    acme: Company, bucket: S3, service: Service, film: int
) -> None:
    url = httpx.URL(service.url)
    if url.scheme != "http":
        pytest.skip("this test speaks plain HTTP")
    video = acme.video(file_path=put(bucket, acme, b"x" * (32 * MIB)))
    for _ in range(8):
        with socket.create_connection((url.host, url.port or 80)) as client:
            lines = [
                f"GET {url.path.rstrip('/')}{stream(video)} HTTP/1.1",
                f"Host: {url.host}",
                f"Authorization: {acme.guest.headers['Authorization']}",
                "Range: bytes=0-",
            ]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 206")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if acme.guest.get(stream(film)).content == FILM:
            return
    raise AssertionError("the service did not come back")


@over_http
def test_concurrent_refreshes_of_one_token_all_give_a_pair(acme: Company) -> None:
    user = add_member(acme.admin)
    body = json.dumps({"refresh_token": user.tokens["refresh_token"]}).encode()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: user.http.post("/v1/auth/refresh", content=body), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    pairs = [answer.json()["refresh_token"] for answer in answers]
    assert len(set(pairs)) == 8
    expect(user.http.post("/v1/auth/refresh", json={"refresh_token": pairs[0]}), 200)


@over_http
def test_two_admins_who_delete_each_other_at_once_leave_one(http: httpx.Client) -> None:
    for _ in range(4):
        company = found_company(http)
        second = add_member(company.admin, "admin")
        with ThreadPoolExecutor(2) as pool:
            pairs = ((company.admin, second), (second, company.admin))
            answers = list(pool.map(lambda pair: pair[0].call("DELETE", f"/v1/users/{pair[1].id}").status_code, pairs))
        assert answers.count(204) == 1, answers
