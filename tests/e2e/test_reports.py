"""Reports for admins, as JSON and as files for a spreadsheet."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, expect, found_company, problem, unique

REPORTS = ("videos", "members", "views")


def table(answer: httpx.Response) -> list[list[str]]:
    """The cells of a CSV answer, its form checked."""
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    text = answer.content.decode()
    assert text.startswith("\ufeff")
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def test_a_view_and_what_was_watched_are_reported(http: httpx.Client) -> None:
    company = found_company(http)
    seen, unseen = company.video("Seen"), company.video("Unseen")
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": seen}), 201)
    expect(company.guest.call("PUT", f"/v1/videos/{seen}/progress", {"position": 20, "watched": [[0, 27]]}), 200)
    none = {"viewers": 0, "completions": 0, "watched_hours": 0, "points": 0}
    assert expect(company.admin.get("/v1/reports/videos"), 200)["items"] == [
        {"video_id": unseen, "name": "Unseen", **none},
        {"video_id": seen, "name": "Seen", **none, "viewers": 1, "watched_hours": 0.01},  # 27 s are 0.0075 h
    ]
    guest, admin = expect(company.admin.get("/v1/reports/members"), 200)["items"]
    assert guest.pop("last_seen_at") > "2026"
    assert guest == {
        "user_id": company.guest.id,
        "email": company.guest.email,
        "videos_viewed": 1,
        "videos_completed": 0,
        "points": 0,
    }
    assert (admin["user_id"], admin["videos_viewed"]) == (company.admin.id, 0)
    today = datetime.now(UTC).date()
    days = expect(company.admin.get(f"/v1/reports/views?from={today - timedelta(9)}&to={today + timedelta(1)}"), 200)
    assert len(days["items"]) == 11
    assert sum(row["views"] for row in days["items"]) == sum(row["viewers"] for row in days["items"]) == 1
    assert len(expect(company.admin.get("/v1/reports/views?limit=100"), 200)["items"]) == 30
    weeks = expect(company.admin.get("/v1/reports/views?by=week&limit=100"), 200)["items"]
    assert len(weeks) == 13
    assert all(date.fromisoformat(week["date"]).weekday() == 0 for week in weeks)


def test_what_lies_outside_of_the_period_is_not_counted(http: httpx.Client) -> None:
    company = found_company(http)
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": company.video()}), 201)
    for query in ("to=2020-12-31", "from=2990-01-01", "from=2020-01-01&to=2020-01-01&timezone=Asia/Kathmandu"):
        assert expect(company.admin.get(f"/v1/reports/videos?{query}"), 200)["items"][0]["viewers"] == 0
        assert {
            row["videos_viewed"] for row in expect(company.admin.get(f"/v1/reports/members?{query}"), 200)["items"]
        } == {0}


def test_the_deleted_are_not_listed_and_what_they_did_counts_on(http: httpx.Client) -> None:
    company = found_company(http)
    kept, gone = company.video(), company.video()
    for video in (kept, gone):
        expect(company.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    assert company.admin.call("DELETE", f"/v1/videos/{gone}").status_code == 204
    assert company.admin.call("DELETE", f"/v1/users/{company.guest.id}").status_code == 204
    (video,) = expect(company.admin.get("/v1/reports/videos"), 200)["items"]
    assert (video["video_id"], video["viewers"]) == (kept, 1)
    (member,) = expect(company.admin.get("/v1/reports/members"), 200)["items"]
    assert member["user_id"] == company.admin.id
    days = expect(company.admin.get("/v1/reports/views?limit=2"), 200)["items"]
    assert (sum(day["views"] for day in days), sum(day["viewers"] for day in days)) == (2, 1)


@pytest.mark.parametrize("report", REPORTS)
def test_pages_follow_one_another(http: httpx.Client, report: str) -> None:
    company = found_company(http)
    for _ in range(2):
        company.video()
    rows, cursor = [], ""
    query = "from=2026-02-26&to=2026-03-02" if report == "views" else "timezone=UTC"
    whole = expect(company.admin.get(f"/v1/reports/{report}?{query}&limit=100"), 200)["items"]
    for _ in range(len(whole)):
        page = expect(company.admin.get(f"/v1/reports/{report}?{query}&limit=1{cursor}"), 200)
        rows += page["items"]
        cursor = f"&cursor={page['next_cursor']}"
    assert rows == whole
    assert page["next_cursor"] is None
    problem(company.admin.get(f"/v1/reports/{report}?cursor=x"), 422, "invalid")


def test_no_formula_reaches_a_spreadsheet(http: httpx.Client) -> None:
    company = found_company(http)
    names = ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", 'a,"b"', "루먼랩"]
    for name in names:
        company.video(name)
    answer = company.admin.get("/v1/reports/videos?format=csv&limit=1")
    head, *rows = table(answer)
    assert head == ["video_id", "name", "viewers", "completions", "watched_hours", "points"]
    assert [row[1] for row in rows] == [*names[:3:-1], *(f"'{name}" for name in names[3::-1])]
    company.video("\uff1d1+1")  # a full-width equals sign
    assert table(company.admin.get("/v1/reports/videos?format=csv"))[1][1] == "'\uff1d1+1"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="videos.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Link" not in answer.headers
    email = f"=1+{unique('x')}@example.com"
    expect(company.admin.call("POST", "/v1/users", {"email": email, "password": PASSWORD}), 201)
    assert table(company.admin.get("/v1/reports/members?format=csv"))[1][1] == f"'{email}"
    views = table(company.admin.get("/v1/reports/views?format=csv&from=2026-02-27&to=2026-03-01"))
    assert views == [["date", "views", "viewers"], *([f"2026-{day}", "0", "0"] for day in ("03-01", "02-28", "02-27"))]


@pytest.mark.parametrize("report", REPORTS)
def test_a_file_has_what_the_page_has(acme: Company, report: str) -> None:
    acme.video("One")
    rows = expect(acme.admin.get(f"/v1/reports/{report}?limit=100"), 200)["items"]
    assert rows
    head, *cells = table(acme.admin.get(f"/v1/reports/{report}?format=csv"))
    assert cells == [[str("" if row[name] is None else row[name]) for name in head] for row in rows]


def test_a_period_that_is_yet_to_come_has_no_days(acme: Company) -> None:
    for by in ("day", "week"):
        answer = expect(acme.admin.get(f"/v1/reports/views?by={by}&from=2990-01-01"), 200)
        assert answer == {"items": [], "next_cursor": None}
    assert table(acme.admin.get("/v1/reports/views?from=2990-01-01&format=csv")) == [["date", "views", "viewers"]]


def test_a_long_file_goes_on_at_its_link(acme: Company) -> None:
    query = "format=csv&from=2023-01-01&to=2026-03-02&timezone=Asia%2FSeoul"
    first = acme.admin.get(f"/v1/reports/views?{query}")
    link = httpx.URL(first.links["next"]["url"])
    assert link.params["timezone"] == "Asia/Seoul"
    second = acme.admin.get(f"/v1{link.raw_path.decode().partition('/v1')[2]}")
    assert "next" not in second.links
    days = [row[0] for answer in (first, second) for row in table(answer)[1:]]
    assert len(table(first)) == 1001
    assert days == [(date(2026, 3, 2) - timedelta(n)).isoformat() for n in range(1157)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("timezone=Atlantis", "timezone"),
        ("timezone=", "timezone"),
        ("timezone=..%2F..%2Fetc%2Fpasswd", "timezone"),
        ("timezone=%00", "timezone"),
        ("timezone=right%2FUTC", "timezone"),
        ("from=2026-02-30", "from"),
        ("from=1790000000", "from"),
        ("from=2026-02-01T00:00:00", "from"),
        ("to=1999-12-31", "to"),
        ("to=3000-01-01", "to"),
        ("from=2026-02-02&to=2026-02-01", "to"),
        ("format=xlsx", "format"),
        ("limit=101", "limit"),
    ],
)
@pytest.mark.parametrize("report", REPORTS)
def test_a_broken_query_is_422(acme: Company, report: str, query: str, field: str) -> None:
    answer = problem(acme.admin.get(f"/v1/reports/{report}?{query}"), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == [field]


def test_a_view_is_by_day_or_week(acme: Company) -> None:
    answer = problem(acme.admin.get("/v1/reports/views?by=month"), 422, "invalid")
    assert [error["field"] for error in answer["errors"]] == ["by"]
