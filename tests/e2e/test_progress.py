"""Reporting what one has watched, and finding it again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.clients import Company, add_member, expect, problem


def test_a_report_is_found_again_by_the_same_user_alone(acme: Company) -> None:
    video, other = acme.video(), add_member(acme.admin)
    body = {"position": 12.5, "watched": [[4, 6], [0, 5], [10, 12.5]]}
    answer = expect(acme.guest.call("PUT", f"/v1/videos/{video}/progress", body), 200)
    assert answer == {"position": 12.5, "watched_seconds": 8.5, "duration": None, "completed_at": None}
    assert expect(acme.guest.get(f"/v1/videos/{video}/progress"), 200) == answer
    nothing = {"position": 0, "watched_seconds": 0, "duration": None, "completed_at": None}
    assert expect(other.get(f"/v1/videos/{video}/progress"), 200) == nothing
    assert expect(acme.guest.get(f"/v1/videos/id/{video}"), 200)["position"] == 12.5
    assert expect(other.get(f"/v1/videos/id/{video}"), 200)["position"] == 0


def test_a_pause_reports_the_position_alone(acme: Company) -> None:
    video = acme.video()
    answer = expect(acme.guest.call("PUT", f"/v1/videos/{video}/progress", {"position": 3}), 200)
    assert (answer["position"], answer["watched_seconds"]) == (3, 0)


def test_the_same_report_again_adds_nothing(acme: Company) -> None:
    video = acme.video()
    body = {"position": 10, "watched": [[0, 10]]}
    answers = [expect(acme.guest.call("PUT", f"/v1/videos/{video}/progress", body), 200) for _ in range(3)]
    assert [answer["watched_seconds"] for answer in answers] == [10, 10, 10]


def test_more_than_the_time_allows_is_ignored_and_no_error(acme: Company) -> None:
    video = acme.video()
    body = {"position": 3600, "watched": [[0, 3600]]}
    answer = expect(acme.guest.call("PUT", f"/v1/videos/{video}/progress", body), 200)
    assert (answer["position"], answer["watched_seconds"]) == (3600, 30)


@pytest.mark.transports("over_http")
def test_two_devices_at_once_lose_nothing(acme: Company) -> None:
    video, who = acme.video(), acme.guest

    def report(step: int) -> int:
        body = {"position": step, "watched": [[step / 2, step / 2 + 0.5]]}
        return who.call("PUT", f"/v1/videos/{video}/progress", body).status_code

    with ThreadPoolExecutor(8) as devices:
        assert set(devices.map(report, range(50))) == {200}
    assert expect(who.get(f"/v1/videos/{video}/progress"), 200)["watched_seconds"] == 25


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "position"),
        ({"position": None}, "position"),
        ({"position": "1"}, "position"),
        ({"position": True}, "position"),
        ({"position": -0.001}, "position"),
        ({"position": 1_000_001}, "position"),
        ({"position": 10**400}, "position"),
        ({"position": 1, "watched": None}, "watched"),
        ({"position": 1, "watched": {}}, "watched"),
        ({"position": 1, "watched": [5]}, "watched.0"),
        ({"position": 1, "watched": [[1, 2], [1]]}, "watched.1"),
        ({"position": 1, "watched": [[1, 2, 3]]}, "watched.0"),
        ({"position": 1, "watched": [[2, 1]]}, "watched.0"),
        ({"position": 1, "watched": [[-1, 1]]}, "watched.0.0"),
        ({"position": 1, "watched": [[0, "1"]]}, "watched.0.1"),
        ({"position": 1, "watched": [[0, 1]] * 101}, "watched"),
        ({"position": 1, "duration": 10}, "duration"),
    ],
)
def test_a_broken_report_is_422_and_changes_nothing(acme: Company, body: dict[str, object], field: str) -> None:
    video = acme.video()
    answer = problem(acme.guest.call("PUT", f"/v1/videos/{video}/progress", body), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == [field]
    assert expect(acme.guest.get(f"/v1/videos/{video}/progress"), 200)["position"] == 0


@pytest.mark.parametrize(
    ("text", "status", "name"),
    [
        ('{"position": NaN}', 400, "bad-json"),
        ('{"position": Infinity}', 400, "bad-json"),
        ('{"position": 1e999}', 422, "invalid"),
        ('{"position": 1, "watched": [[0, 1e999]]}', 422, "invalid"),
        ("[]", 422, "invalid"),
        ("", 422, "invalid"),
    ],
)
def test_no_infinite_number_comes_in(acme: Company, text: str, status: int, name: str) -> None:
    video = acme.video()
    answer = acme.guest.call("PUT", f"/v1/videos/{video}/progress", content=text.encode())
    problem(answer, status, name)


def test_a_deleted_video_has_no_progress_until_it_is_restored(acme: Company) -> None:
    video = acme.video()
    path = f"/v1/videos/{video}/progress"
    expect(acme.guest.call("PUT", path, {"position": 7}), 200)
    assert acme.admin.call("DELETE", f"/v1/videos/{video}").status_code == 204
    problem(acme.guest.call("PUT", path, {"position": 8}), 404, "not-found")
    problem(acme.guest.get(path), 404, "not-found")
    expect(acme.admin.call("PUT", f"/v1/videos/{video}/restore"), 200)
    assert expect(acme.guest.get(path), 200)["position"] == 7


def test_streaming_and_watching_are_marked_apart(acme: Company) -> None:
    video = acme.video()
    expect(acme.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    for path in (f"/v1/videos/id/{video}", "/v1/videos?limit=1"):
        seen = expect(acme.guest.get(path), 200)
        seen = seen["items"][0] if "items" in seen else seen
        assert (seen["id"], seen["viewed"], seen["position"], seen["completed"]) == (video, True, 0, False)
    for answer in (
        acme.admin.call("PUT", f"/v1/videos/{video}", {"name": "New"}),
        acme.admin.get(f"/v1/videos/id/{video}"),
    ):
        assert expect(answer, 200)["viewed"] is False
