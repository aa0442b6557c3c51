"""Videos: adding, listing, changing, deleting and restoring them."""

import httpx
import pytest

from tests.e2e.clients import Company, expect, found_company, problem

OF_A_VIDEO = {
    *("id", "name", "corporation_id", "is_deleted", "created_at", "updated_at"),
    *("viewed", "position", "completed", "poster"),
    *("size", "duration", "width", "height", "content_type", "browser_playable", "detail"),
}


def test_an_admin_adds_a_video_whose_object_need_not_be_there(acme: Company) -> None:
    body = {"name": "Safety first", "file_path": "videos/루먼랩 + %20.mp4"}
    made = expect(acme.admin.call("POST", "/v1/videos", body), 201)
    assert set(made) == {*OF_A_VIDEO, "file_path"}
    assert (made["viewed"], made["position"], made["completed"], made["poster"]) == (False, 0, False, None)
    assert (made["name"], made["file_path"], made["is_deleted"]) == (body["name"], body["file_path"], False)


def test_the_file_path_is_shown_to_admins_only(acme: Company) -> None:
    video = acme.video()
    assert expect(acme.admin.get(f"/v1/videos/id/{video}"), 200)["file_path"] == "videos/none.mp4"
    seen = expect(acme.guest.get(f"/v1/videos/id/{video}"), 200)
    assert set(seen) == OF_A_VIDEO
    assert "file_path" not in acme.guest.get("/v1/videos").text


@pytest.mark.parametrize(
    "file_path",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://example.com/a.mp4",
        "HTTP://example.com/a.mp4",
        "s3://other/a.mp4",
        "file:///etc/passwd",
        "//example.com/a.mp4",
        "/etc/passwd",
        "..",
        "../other/a.mp4",
        "a/../../b.mp4",
        "a\\..\\b.mp4",
        "./a.mp4",
        "a\nb.mp4",
        "a\u0000b",
        "",
        " ",
        "가" * 342,
        None,
        7,
    ],
)
def test_a_file_path_is_a_key_in_the_own_bucket_and_nothing_else(acme: Company, file_path: object) -> None:
    body = {"name": "x", "file_path": file_path}
    answer = problem(acme.admin.call("POST", "/v1/videos", body), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == ["file_path"]
    video = acme.video()
    problem(acme.admin.call("PUT", f"/v1/videos/{video}", {"file_path": file_path}), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "", "file_path": "a"},
        {"name": "x" * 256, "file_path": "a"},
        {"name": "x", "file_path": "a", "is_deleted": False},
        {"name": "x", "file_path": "a", "corporation_id": True},
    ],
)
def test_a_broken_video_is_422(acme: Company, body: dict[str, object]) -> None:
    problem(acme.admin.call("POST", "/v1/videos", body), 422, "invalid")


def test_a_video_goes_to_the_own_corporation_only(acme: Company, rival: Company) -> None:
    body = {"name": "x", "file_path": "a", "corporation_id": rival.id}
    problem(acme.admin.call("POST", "/v1/videos", body), 404, "not-found")
    made = expect(acme.admin.call("POST", "/v1/videos", {**body, "corporation_id": acme.id}), 201)
    assert made["corporation_id"] == acme.id


def test_only_the_sent_fields_of_a_video_change(acme: Company) -> None:
    video = acme.video(file_path="videos/a.mp4")
    changed = expect(acme.admin.call("PUT", f"/v1/videos/{video}", {"name": "New name"}), 200)
    assert (changed["name"], changed["file_path"]) == ("New name", "videos/a.mp4")
    changed = expect(acme.admin.call("PUT", f"/v1/videos/{video}", {"file_path": "videos/b.mp4"}), 200)
    assert (changed["name"], changed["file_path"]) == ("New name", "videos/b.mp4")
    assert changed["updated_at"] > changed["created_at"]
    problem(acme.admin.call("PUT", f"/v1/videos/{video}", {}), 422, "invalid")


def test_pages_follow_one_another_newest_first_and_lose_nothing(http: httpx.Client) -> None:
    company = found_company(http)
    videos = [company.video() for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        query = "limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = expect(company.guest.get(f"/v1/videos?{query}"), 200)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == videos[::-1]
    assert cursor is None
    by_corporation = expect(company.guest.get(f"/v1/videos/{company.id}?limit=100"), 200)
    assert [item["id"] for item in by_corporation["items"]] == videos[::-1]


def test_an_empty_page(http: httpx.Client) -> None:
    assert expect(found_company(http).guest.get("/v1/videos"), 200) == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=-1",
        "limit=",
        "cursor=x",
        "cursor=",
        "cursor=djE6MA",
        "cursor=djE6LTE",
        "cursor=%F0%9F%92%A9",
    ],
)
def test_a_broken_page_query_is_422(acme: Company, query: str) -> None:
    problem(acme.guest.get(f"/v1/videos?{query}"), 422, "invalid")


def test_the_deleted_ones_are_listed_to_admins_only(http: httpx.Client) -> None:
    company = found_company(http)
    live, gone = company.video(), company.video()
    assert company.admin.call("DELETE", f"/v1/videos/{gone}").status_code == 204
    assert [v["id"] for v in expect(company.admin.get("/v1/videos"), 200)["items"]] == [live]
    deleted = expect(company.admin.get("/v1/videos?deleted=true"), 200)["items"]
    assert [(video["id"], video["is_deleted"]) for video in deleted] == [(gone, True)]
    problem(company.guest.get("/v1/videos?deleted=true"), 403, "forbidden")
    problem(company.guest.get(f"/v1/videos/id/{gone}"), 404, "not-found")
    problem(company.admin.call("PUT", f"/v1/videos/{gone}", {"name": "x"}), 404, "not-found")
    problem(company.admin.call("DELETE", f"/v1/videos/{gone}"), 404, "not-found")


def test_a_paid_plan_restores(http: httpx.Client) -> None:
    company = found_company(http, plan="PAID")
    video = company.video()
    problem(company.admin.call("PUT", f"/v1/videos/{video}/restore"), 404, "not-found")  # it is not deleted
    company.admin.call("DELETE", f"/v1/videos/{video}")
    problem(company.guest.call("PUT", f"/v1/videos/{video}/restore"), 403, "forbidden")
    assert expect(company.admin.call("PUT", f"/v1/videos/{video}/restore"), 200)["is_deleted"] is False
    expect(company.guest.get(f"/v1/videos/id/{video}"), 200)


@pytest.mark.parametrize("plan", [{"plan": "FREE"}, {"plan": "PAID", "plan_expire_at": "2020-01-01T00:00:00Z"}])
def test_restoring_needs_a_plan_that_is_paid_at_this_moment(http: httpx.Client, plan: dict[str, str]) -> None:
    company = found_company(http, **plan)
    video = company.video()
    company.admin.call("DELETE", f"/v1/videos/{video}")
    problem(company.admin.call("PUT", f"/v1/videos/{video}/restore"), 403, "plan-required")
    change = {"plan": "PAID", "plan_expire_at": "2040-01-01T00:00:00Z"}
    expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", change), 200)
    expect(company.admin.call("PUT", f"/v1/videos/{video}/restore"), 200)


def test_a_playback_url_holds_a_token_of_its_own_type(http: httpx.Client, acme: Company) -> None:
    video = acme.video()
    made = expect(acme.guest.call("POST", f"/v1/videos/{video}/playback"), 200)
    assert set(made) == {"url", "expires_at"}
    url = httpx.URL(made["url"])
    assert url.path.endswith(f"/v1/videos/stream/{video}")
    token = url.params["token"]
    problem(http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"}), 401, "unauthenticated")


def test_view_logs_show_what_was_viewed_and_grant_nothing(acme: Company) -> None:
    video, other = acme.video(), acme.video()
    before = acme.guest.me()["point"]
    first = acme.guest.call("POST", "/v1/view-logs", {"video_id": video})
    log = expect(first, 201)
    assert set(log) == {"id", "user_id", "video_id", "point", "viewed_at"}
    assert (log["user_id"], log["video_id"], log["point"]) == (acme.guest.id, video, 0)
    assert expect(acme.guest.call("POST", "/v1/view-logs", {"video_id": video}), 200) == log
    assert acme.guest.me()["point"] == before
    for viewer in (acme.guest, acme.admin):
        path = f"/v1/view-logs/{acme.guest.id}"
        assert expect(viewer.get(f"{path}/{video}"), 200) is True
        assert expect(viewer.get(f"{path}/{other}"), 200) is False
        assert log in expect(viewer.get(f"{path}?limit=100"), 200)["items"]
    problem(acme.guest.get(f"/v1/view-logs/{acme.admin.id}"), 403, "forbidden")


def test_an_unknown_video_is_404_not_500(acme: Company, rival: Company) -> None:
    for video in (2**62, rival.video()):
        problem(acme.guest.call("POST", "/v1/view-logs", {"video_id": video}), 404, "not-found")
        problem(acme.guest.get(f"/v1/view-logs/{acme.guest.id}/{video}"), 404, "not-found")
    for broken in ({"video_id": "1"}, {"video_id": 0}, {"video_id": None}, {}, {"video_id": 1, "point": 10}):
        problem(acme.guest.call("POST", "/v1/view-logs", broken), 422, "invalid")
