"""The function `operator`, in this process: plans, sessions, viewers, and what it refuses."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.e2e.clients import Company, expect, found_company, problem, unique
from tests.in_process import context, load
from tests.service import Services

pytestmark = pytest.mark.usefixtures("environment")


def operate(action: str, **event: Any) -> Any:
    """The answer of the function."""
    return load("operator").lambda_handler({"action": action, **event}, context())


def refused(action: str, **event: Any) -> str:
    """What the function says when it refuses."""
    answer = operate(action, **event)
    assert set(answer) == {"refused"}
    return str(answer["refused"])


def test_corporations_are_found_by_a_part_of_their_name_in_any_case(http: httpx.Client) -> None:
    word = unique("Lantern")
    made = [found_company(http, name=f"{word} 루먼랩 {number}") for number in range(3)]
    first = operate("list", name=word.upper(), limit=2)
    second = operate("list", name=word, limit=2, cursor=first["next_cursor"])
    found = [*first["items"], *second["items"]]
    assert [each["id"] for each in found] == [company.id for company in reversed(made)]
    assert second["next_cursor"] is None
    assert {(each["plan"], each["effective_plan"], each["members"]) for each in found} == {("PAID", "PAID", 2)}
    assert operate("list", name=f"{word} 루먼랩 1")["items"][0]["id"] == made[1].id
    assert operate("list", name=f"{word}%")["items"] == []  # a sign, no pattern


def test_a_corporation_is_shown_with_what_it_uses(http: httpx.Client, services: Services) -> None:
    company = found_company(http)
    video, gone = company.video(), company.video()
    company.admin.call("DELETE", f"/v1/videos/{gone}")
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    shown = operate("show", corporation=company.id)
    assert shown["account"]["name"] == company.name
    assert shown["admins"] == [company.admin.id]
    assert (shown["videos"], shown["videos_deleted"], shown["views"], shown["points"]) == (1, 1, 1, 0)
    assert (shown["quota"]["used_videos"], shown["quota"]["used_bytes"]) == (2, 0)  # the deleted one can be restored
    assert shown["last_activity_at"] is not None
    assert company.admin.call("DELETE", f"/v1/corporations/{company.id}").status_code == 204
    shown = operate("show", corporation=company.id)
    assert (shown["account"]["deleted_at"] is None, shown["admins"], shown["account"]["members"]) == (False, [], 0)
    assert refused("show", corporation=2**62) == f"there is no corporation {2**62}"


def test_an_operator_makes_a_plan_paid_and_free(http: httpx.Client) -> None:
    company = found_company(http, "FREE")
    changed = operate("set-plan", corporation=company.id, plan="PAID", until="2040-01-01T09:00:00+09:00")
    assert (changed["before"]["plan"], changed["after"]["plan"]) == ("FREE", "PAID")
    assert changed["after"]["plan_expire_at"] == "2040-01-01T00:00:00Z"
    seen = expect(company.guest.get(f"/v1/corporations/id/{company.id}"), 200)
    assert (seen["plan"], seen["plan_expire_at"]) == ("PAID", "2040-01-01T00:00:00Z")
    assert operate("set-plan", corporation=company.id, plan="PAID")["after"]["plan_expire_at"] is None
    assert operate("set-plan", corporation=company.id, plan="FREE")["after"]["plan"] == "FREE"


def test_a_plan_that_cannot_be_is_refused_and_changes_nothing(http: httpx.Client) -> None:
    company = found_company(http, "FREE")
    assert "has no end" in refused("set-plan", corporation=company.id, plan="FREE", until="2040-01-01T00:00:00Z")
    assert "is past" in refused("set-plan", corporation=company.id, plan="PAID", until="2020-01-01T00:00:00Z")
    assert "timezone" in refused("set-plan", corporation=company.id, plan="PAID", until="2040-01-01T00:00:00")
    for until in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert "out of range" in refused("set-plan", corporation=company.id, plan="PAID", until=until)
    assert "no corporation" in refused("set-plan", corporation=2**62, plan="PAID")
    assert expect(company.guest.get(f"/v1/corporations/id/{company.id}"), 200)["plan"] == "FREE"
    company.admin.call("DELETE", f"/v1/corporations/{company.id}")
    assert "deleted" in refused("set-plan", corporation=company.id, plan="PAID")


def test_sessions_of_a_user_or_of_a_corporation_end(http: httpx.Client, rival: Company) -> None:
    company = found_company(http)
    assert operate("revoke-sessions", user=company.guest.id) == {"users": 1, "sessions": 1}
    ended = http.post("/v1/auth/refresh", json={"refresh_token": company.guest.tokens["refresh_token"]})
    problem(ended, 401, "unauthenticated")
    assert operate("revoke-sessions", corporation=company.id) == {"users": 2, "sessions": 1}
    ended = http.post("/v1/auth/refresh", json={"refresh_token": company.admin.tokens["refresh_token"]})
    problem(ended, 401, "unauthenticated")
    rival.guest.tokens = expect(
        http.post("/v1/auth/refresh", json={"refresh_token": rival.guest.tokens["refresh_token"]}), 200
    )
    assert "a user or a corporation" in refused("revoke-sessions")
    assert "a user or a corporation" in refused("revoke-sessions", user=1, corporation=1)
    assert refused("revoke-sessions", user=2**62) == f"there is no user {2**62}"
    assert refused("revoke-sessions", corporation=2**62) == f"there is no corporation {2**62}"


def test_who_watched_a_video_is_paged_newest_first(acme: Company) -> None:
    video, unseen = acme.video(), acme.video()
    for viewer in (acme.admin, acme.guest):
        expect(viewer.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    first = operate("who-watched", video=video, limit=1)
    second = operate("who-watched", video=video, limit=1, cursor=first["next_cursor"])
    assert [each["items"][0]["email"] for each in (first, second)] == [acme.guest.email, acme.admin.email]
    assert second["next_cursor"] is None
    assert operate("who-watched", video=unseen) == {"items": [], "next_cursor": None}
    assert refused("who-watched", video=2**62) == f"there is no video {2**62}"
    assert "cursor" in refused("who-watched", video=video, cursor="nonsense")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({}, "event"),
        ({"action": "drop-everything"}, "event"),
        ({"action": "show"}, "corporation"),
        ({"action": "show", "corporation": 0}, "corporation"),
        ({"action": "show", "corporation": 7, "surprise": "a secret"}, "surprise"),
        ({"action": "show", "corporation": True}, "corporation"),
        ({"action": "list", "limit": 1000}, "limit"),
        ({"action": "list", "name": "\0"}, "name"),
        ({"action": "purge-user", "user": 7}, "yes"),
        ({"action": "purge-user", "user": 7, "yes": False}, "yes"),
        ({"action": "purge-corporation", "corporation": 7}, "yes"),
        ({"action": "set-plan", "corporation": 7, "plan": "GOLD"}, "plan"),
        ({"action": "sql", "statement": ""}, "statement"),
        ({"action": "sql", "statement": "SELECT 1", "seconds": 0}, "seconds"),
    ],
    ids=str,
)
def test_an_event_that_is_not_understood_names_what_is_wrong(event: dict[str, Any], told: str) -> None:
    answer = load("operator").lambda_handler(event, context())
    assert set(answer) == {"refused"}
    assert told in answer["refused"]
    assert "a secret" not in answer["refused"]


def test_an_action_is_logged_with_who_says_to_be_the_caller_and_no_more_than_ids(
    acme: Company, caplog: pytest.LogCaptureFixture
) -> None:
    known, arn = context(), "arn:aws:sts::1:assumed-role/ops/ann"
    known.client_context = SimpleNamespace(custom={"caller": arn})
    video = acme.video()
    expect(acme.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    caplog.clear()
    with caplog.at_level("INFO"):
        load("operator").lambda_handler({"action": "who-watched", "video": video}, known)
        load("operator").lambda_handler({"action": "list", "name": acme.name}, known)
    said = [vars(record) for record in caplog.records]
    assert [(each["action"], each["caller"], each.get("video")) for each in said] == [
        *[("who-watched", arn, video)] * 2,
        *[("list", arn, None)] * 2,
    ]
    assert acme.guest.email not in str(said)
    assert acme.name not in str(said)
