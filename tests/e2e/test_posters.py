"""Posters: one image a video, for its members alone."""

import httpx
import pytest

from tests.e2e.clients import PIXEL, Company, Person, expect, problem
from tests.unit.test_images import JPEG, extended

IMAGE = {"Accept": "image/webp"}


def put(who: Person, video: int, image: bytes, **headers: str) -> httpx.Response:
    return who.call("PUT", f"/v1/videos/{video}/poster", image, headers=headers)


def get(who: Person, video: int, **headers: str) -> httpx.Response:
    return who.get(f"/v1/videos/{video}/poster", headers={**IMAGE, **headers})


def test_a_poster_is_given_back_as_it_is_to_every_member(acme: Company) -> None:
    video = acme.video()
    stored = expect(put(acme.admin, video, PIXEL), 200)
    assert (stored["content_type"], stored["size"], stored["width"], stored["height"]) == ("image/webp", 34, 1, 1)
    for who in (acme.admin, acme.guest):
        answer = get(who, video)
        assert (answer.status_code, answer.content) == (200, PIXEL)
        assert answer.headers["ETag"] == f'"{stored["poster"]}"'
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == "inline"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert expect(who.get(f"/v1/videos/id/{video}"), 200)["poster"] == stored["poster"]
        assert expect(who.get("/v1/videos?limit=1"), 200)["items"][0]["poster"] == stored["poster"]


def test_who_has_it_already_gets_no_bytes(acme: Company) -> None:
    video = acme.video()
    etag = f'"{expect(put(acme.admin, video, PIXEL), 200)["poster"]}"'
    for condition in (etag, f"W/{etag}", f'"x", {etag}', f'"a,b",,{etag} , "y"', "*"):
        answer = get(acme.guest, video, **{"If-None-Match": condition})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    for condition in ('"x"', '"*"', 'W/"*"', '"x", *', etag.strip('"'), f"'{etag}'", etag.upper(), "", ","):
        assert get(acme.guest, video, **{"If-None-Match": condition}).content == PIXEL


def test_a_new_poster_takes_the_place_of_the_old_one_and_its_bytes_say_its_type(acme: Company) -> None:
    video = acme.video()
    old = expect(put(acme.admin, video, PIXEL), 200)
    new = expect(put(acme.admin, video, JPEG, **{"Content-Type": "image/webp"}), 200)
    assert (new["content_type"], new["width"], new["height"]) == ("image/jpeg", 64, 36)
    answer = get(acme.guest, video, **{"If-None-Match": f'"{old["poster"]}"'})
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, JPEG, "image/jpeg")
    assert expect(put(acme.admin, video, JPEG), 200) == new


@pytest.mark.parametrize(
    "body", [b"", b"{}", PIXEL[:-1], PIXEL + b"<script>", b"\x89PNG\r\n\x1a\n", extended(5000, 5)], ids=range(6)
)
def test_what_is_no_image_is_422_and_changes_nothing(acme: Company, body: bytes) -> None:
    video = acme.video()
    stored = expect(put(acme.admin, video, PIXEL), 200)
    answer = problem(put(acme.admin, video, body), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == ["body"]
    assert expect(acme.admin.get(f"/v1/videos/id/{video}"), 200)["poster"] == stored["poster"]


def test_an_image_sent_as_text_is_422(acme: Company) -> None:
    text = put(acme.admin, acme.video(), b"\xef\xbf\xbd" + PIXEL, **{"Content-Type": "text/plain"})
    assert "image/webp" in problem(text, 422, "invalid")["errors"][0]["message"]


def test_60_kib_and_no_more(acme: Company) -> None:
    video = acme.video()
    room = 61440 - len(JPEG) - 4  # of a comment, within one segment
    filled = JPEG[:2] + b"\xff\xfe" + (room + 2).to_bytes(2, "big") + bytes(room) + JPEG[2:]
    assert len(filled) == 61440
    expect(put(acme.admin, video, filled), 200)
    problem(put(acme.admin, video, filled[:-1] + b"\xd9\xd9"), 413, "too-large")
    assert get(acme.guest, video).content == filled


def test_there_is_no_poster_where_none_was_put_and_that_of_a_deleted_video_is_for_admins(
    acme: Company, rival: Company
) -> None:
    video = acme.video()
    problem(get(acme.guest, video), 404, "not-found")
    etag = expect(put(acme.admin, video, PIXEL), 200)["poster"]
    acme.admin.call("DELETE", f"/v1/videos/{video}")
    problem(get(acme.guest, video), 404, "not-found")
    for stranger in (rival.admin, rival.guest):
        problem(get(stranger, video), 404, "not-found")
    deleted = expect(acme.admin.get("/v1/videos?deleted=true&limit=1"), 200)["items"]
    assert [(each["id"], each["poster"]) for each in deleted] == [(video, etag)]
    assert get(acme.admin, video).content == PIXEL
    assert get(acme.admin, video, **{"If-None-Match": f'"{etag}"'}).status_code == 304
    problem(put(acme.admin, video, PIXEL), 404, "not-found")
    expect(acme.admin.call("PUT", f"/v1/videos/{video}/restore"), 200)
    assert get(acme.guest, video).content == PIXEL
