"""Films come to S3 in parts, through signed URLs, and become videos."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import httpx
import pytest

from local.s3 import S3
from tests.e2e.clients import Company, add_member, expect, found_company, problem, unique
from tests.e2e.films import FILM
from tests.e2e.senders import MIB, begin, complete, film_of, padded, part, send, sent, urls
from vms.paths import object_key

WHOLE = padded(17 * MIB)
UPLOAD = {
    *(
        "id",
        "corporation_id",
        "status",
        "file_name",
        "name",
        "size",
        "part_size",
        "part_count",
        "expires_at",
        "created_at",
        "video_id",
    ),
}


def stream(video: int) -> str:
    return f"/v1/videos/stream/{video}"


def client(bucket: S3) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    )


def in_s3(bucket: S3, company: Company) -> tuple[list[str], list[str]]:
    """The keys of the company's objects, and those of its uploads that S3 has not ended."""
    prefix = object_key(company.id, "uploads/x").removesuffix("x")
    objects = client(bucket).list_objects_v2(Bucket=bucket.bucket, Prefix=prefix).get("Contents", [])
    uploads = client(bucket).list_multipart_uploads(Bucket=bucket.bucket, Prefix=prefix).get("Uploads", [])
    return [each["Key"] for each in objects], [each["Key"] for each in uploads]


def test_a_film_goes_to_s3_in_parts_and_is_a_video_that_plays(acme: Company, bucket: S3) -> None:
    upload = begin(acme.admin, len(WHOLE), file_name="C:\\films\\루먼랩 1.mp4", name="First steps")
    assert set(upload) == UPLOAD
    assert (upload["status"], upload["part_size"], upload["part_count"]) == ("open", 8 * MIB, 3)
    assert upload["video_id"] is None
    send(acme.admin, upload, WHOLE, [2, 3])
    seen = expect(acme.admin.get(f"/v1/uploads/{upload['id']}"), 200)
    assert [(each["number"], each["size"]) for each in seen["received"]] == [(2, 8 * MIB), (3, MIB)]
    assert all(each["etag"] for each in seen["received"])
    send(acme.admin, upload, WHOLE, [1])
    video = expect(complete(acme.admin, upload), 201)
    known = {
        "name": "First steps",
        "size": len(WHOLE),
        "duration": 12.0,
        "width": 480,
        "height": 270,
        "content_type": "video/mp4",
        "browser_playable": True,
        "detail": None,
    }
    assert {name: video[name] for name in known} == known
    assert video["file_path"].startswith("uploads/")
    assert video["file_path"].endswith("/1.mp4")
    assert expect(acme.admin.get(f"/v1/videos/id/{video['id']}"), 200) == video
    guests = expect(acme.guest.get(f"/v1/videos/id/{video['id']}"), 200)
    assert guests == {name: value for name, value in video.items() if name != "file_path"}
    answer = acme.guest.get(stream(video["id"]), headers={"Range": "bytes=0-999"})
    assert (answer.content, answer.headers["Content-Type"]) == (WHOLE[:1000], "video/mp4")
    assert answer.headers["Content-Range"] == f"bytes 0-999/{len(WHOLE)}"
    assert expect(complete(acme.admin, upload), 200) == video
    after = expect(acme.admin.get(f"/v1/uploads/{upload['id']}"), 200)
    assert (after["status"], after["video_id"], after["received"]) == ("complete", video["id"], [])
    _, open_in_s3 = in_s3(bucket, acme)
    assert open_in_s3 == []


def test_the_path_of_a_file_keeps_its_ending_whatever_script_its_name_is_in(acme: Company) -> None:
    video = film_of(acme.admin, FILM, file_name="영화.webm")
    assert video["name"] == "영화.webm"
    assert video["file_path"].endswith("/film.webm")


def test_a_video_of_own_means_has_nulls_where_an_upload_has_knowledge(acme: Company) -> None:
    seen = expect(acme.admin.get(f"/v1/videos/id/{acme.video()}"), 200)
    names = ("size", "duration", "width", "height", "content_type", "browser_playable", "detail")
    assert [seen[name] for name in names] == [None] * 7


def test_a_part_that_is_longer_or_shorter_than_announced_is_refused_by_s3(acme: Company) -> None:
    upload = begin(acme.admin, len(WHOLE))
    url = urls(acme.admin, upload, [3])[3]
    assert "content-length" in httpx.URL(url).params["X-Amz-SignedHeaders"].split(";")
    good = part(upload, WHOLE, 3)
    for body in (good + b"x", good[:-1]):
        assert httpx.put(url, content=body, timeout=60, trust_env=False).status_code == 403
    assert httpx.put(url, content=good, timeout=60, trust_env=False).status_code == 200


def test_what_is_missing_is_named_and_nothing_is_made(acme: Company) -> None:
    upload = begin(acme.admin, len(WHOLE))
    assert "Missing: 1-3." in problem(complete(acme.admin, upload), 409, "upload-incomplete")["detail"]
    send(acme.admin, upload, WHOLE, [2])
    assert "Missing: 1, 3." in problem(complete(acme.admin, upload), 409, "upload-incomplete")["detail"]
    send(acme.admin, upload, WHOLE, [1, 3])
    expect(complete(acme.admin, upload), 201)


def test_what_is_no_film_is_removed_and_its_upload_has_ended(acme: Company, bucket: S3) -> None:
    before = in_s3(bucket, acme)
    upload = sent(acme.admin, b"no film " * MIB)
    for _ in range(2):
        problem(complete(acme.admin, upload), 422, "not-a-video")
        assert in_s3(bucket, acme) == before
    seen = expect(acme.admin.get(f"/v1/uploads/{upload['id']}"), 200)
    assert (seen["status"], seen["video_id"]) == ("aborted", None)
    numbers = {"numbers": [1]}
    problem(acme.admin.call("POST", f"/v1/uploads/{upload['id']}/parts", numbers), 409, "upload-ended")


def test_an_aborted_upload_leaves_no_part_and_aborting_is_idempotent(acme: Company, bucket: S3) -> None:
    before = in_s3(bucket, acme)
    upload = begin(acme.admin, len(WHOLE))
    url = urls(acme.admin, upload, [1])[1]
    send(acme.admin, upload, WHOLE, [2])
    assert in_s3(bucket, acme) != before
    for _ in range(2):
        assert acme.admin.call("DELETE", f"/v1/uploads/{upload['id']}").status_code == 204
        assert in_s3(bucket, acme) == before
    assert expect(acme.admin.get(f"/v1/uploads/{upload['id']}"), 200)["status"] == "aborted"
    assert httpx.put(url, content=part(upload, WHOLE, 1), timeout=60, trust_env=False).status_code == 404
    problem(complete(acme.admin, upload), 409, "upload-ended")


def test_a_complete_upload_is_not_aborted(acme: Company) -> None:
    upload = sent(acme.admin, FILM)
    video = expect(complete(acme.admin, upload), 201)
    problem(acme.admin.call("DELETE", f"/v1/uploads/{upload['id']}"), 409, "upload-ended")
    assert acme.guest.get(stream(video["id"])).content == FILM


@pytest.mark.transports("over_http")  # in one process there is one request at a time
def test_any_number_of_completions_at_once_make_one_video(acme: Company) -> None:
    upload = sent(acme.admin, WHOLE)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: complete(acme.admin, upload), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_replacing_a_file_keeps_views_and_points_and_the_old_one_goes(acme: Company, bucket: S3) -> None:
    viewer = add_member(acme.admin)
    video = film_of(acme.admin, FILM, name="Kept")
    first = viewer.get(stream(video["id"]))
    assert first.content == FILM
    upload = begin(acme.admin, len(WHOLE), video_id=video["id"], file_name="second.mp4")
    assert upload["video_id"] == video["id"]
    send(acme.admin, upload, WHOLE)
    replaced = expect(complete(acme.admin, upload), 201)
    assert (replaced["id"], replaced["name"], replaced["size"]) == (video["id"], "Kept", len(WHOLE))
    # A viewer in the middle of the old file notices.
    headers = {"Range": "bytes=1000-1999", "If-Match": first.headers["ETag"]}
    assert viewer.get(stream(video["id"]), headers=headers).status_code == 412
    assert viewer.me()["point"] == 10
    objects, _ = in_s3(bucket, acme)
    assert object_key(acme.id, video["file_path"]) not in objects
    assert object_key(acme.id, replaced["file_path"]) in objects
    assert expect(complete(acme.admin, upload), 200)["id"] == video["id"]


def test_another_admin_goes_on_with_an_upload_and_others_do_not(acme: Company, rival: Company) -> None:
    upload = begin(acme.admin, len(WHOLE))
    send(acme.admin, upload, WHOLE, [1])
    other = add_member(acme.admin, "admin")
    assert [each["id"] for each in expect(other.get("/v1/uploads?limit=1"), 200)["items"]] == [upload["id"]]
    assert len(expect(other.get(f"/v1/uploads/{upload['id']}"), 200)["received"]) == 1
    send(other, upload, WHOLE, [2, 3])
    body = {"numbers": [1]}
    for stranger, status, name in ((rival.admin, 404, "not-found"), (acme.guest, 403, "forbidden")):
        problem(stranger.get(f"/v1/uploads/{upload['id']}"), status, name)
        problem(stranger.call("POST", f"/v1/uploads/{upload['id']}/parts", body), status, name)
        problem(complete(stranger, upload), status, name)
        problem(stranger.call("DELETE", f"/v1/uploads/{upload['id']}"), status, name)
    expect(complete(other, upload), 201)
    problem(
        rival.admin.call("POST", "/v1/uploads", {"file_name": "x", "size": 1, "video_id": acme.video()}),
        404,
        "not-found",
    )


def test_a_video_that_is_deleted_during_its_upload_gets_no_file_until_it_is_back(acme: Company) -> None:
    video = film_of(acme.admin, FILM)
    upload = sent(acme.admin, WHOLE, video_id=video["id"])
    acme.admin.call("DELETE", f"/v1/videos/{video['id']}")
    problem(complete(acme.admin, upload), 404, "not-found")
    expect(acme.admin.call("PUT", f"/v1/videos/{video['id']}/restore"), 200)
    assert expect(complete(acme.admin, upload), 201)["size"] == len(WHOLE)


@pytest.mark.parametrize(
    "body",
    [
        {"file_name": "x.mp4", "size": 0},
        {"file_name": "x.mp4", "size": -1},
        {"file_name": "x.mp4", "size": 5 * 1024**4 + 1},
        {"file_name": "x.mp4", "size": 1.5},
        {"file_name": "x.mp4", "size": "5"},
        {"file_name": "x.mp4", "size": True},
        {"file_name": "", "size": 5},
        {"file_name": "a\u0000b", "size": 5},
        {"file_name": "x" * 256, "size": 5},
        {"size": 5},
        {"file_name": "x.mp4", "size": 5, "name": " "},
        {"file_name": "x.mp4", "size": 5, "video_id": 0},
        {"file_name": "x.mp4", "size": 5, "part_size": 5},
    ],
)
def test_a_broken_announcement_is_422(acme: Company, body: dict[str, object]) -> None:
    problem(acme.admin.call("POST", "/v1/uploads", body), 422, "invalid")


@pytest.mark.parametrize("numbers", [[], [0], [4], [10_001], ["1"], [1.5], list(range(1, 4)) * 34, None])
def test_parts_that_the_file_does_not_have_are_422(acme: Company, numbers: object) -> None:
    upload = begin(acme.admin, len(WHOLE))
    path = f"/v1/uploads/{upload['id']}/parts"
    problem(acme.admin.call("POST", path, {"numbers": numbers}), 422, "invalid")


def test_a_size_of_whole_parts_has_no_empty_last_part_and_any_size_fits_into_10_000(http: httpx.Client) -> None:
    admin = found_company(http).admin
    assert begin(admin, 16 * MIB)["part_count"] == 2
    assert begin(admin, 1)["part_count"] == 1
    large = begin(admin, 900 * 1024**3)
    assert large["part_count"] <= 10_000
    assert large["part_size"] % MIB == 0
    assert (large["part_count"] - 1) * large["part_size"] < 900 * 1024**3 <= large["part_count"] * large["part_size"]


def test_an_announcement_sent_again_under_its_key_is_one_upload(acme: Company) -> None:
    body, headers = {"file_name": "film.mp4", "size": 5}, {"Idempotency-Key": unique("key")}
    first, second = (acme.admin.call("POST", "/v1/uploads", body, headers=headers) for _ in range(2))
    assert expect(first, 201) == expect(second, 201)
    assert second.headers["Idempotency-Replayed"] == "true"


def test_a_plan_has_room_for_so_much_and_says_what_is_left(http: httpx.Client) -> None:
    free = found_company(http, "FREE").admin
    gib = 1024**3
    upload = begin(free, 4 * gib)
    refusal = problem(free.call("POST", "/v1/uploads", {"file_name": "x", "size": gib + 1}), 403, "quota-exceeded")
    assert refusal["detail"] == f"The FREE plan has 49 of its 50 videos and {gib} of its {5 * gib} bytes left."
    begin(free, gib)
    problem(free.call("POST", "/v1/uploads", {"file_name": "x", "size": 1}), 403, "quota-exceeded")
    assert free.call("DELETE", f"/v1/uploads/{upload['id']}").status_code == 204
    begin(free, gib)
